package boot

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// An advertisement of tang 11, and what tang-show-keys printed of it.
const (
	tangSet        = `{"keys":[{"alg":"ES512","crv":"P-521","key_ops":["verify"],"kty":"EC","x":"ADwLSFtRQi69PMIgX4cglFIoyLs_2cjEnF73-290Ev8i3q49nTeNIWbcOiizGOsmqo1P_BWE6KvjnQw6H5Z7xVmQ","y":"AKgmM5z02HDzJAIAyRsBVRJ_gk2BBj54IWPi3iBd5OwgwFzfBAy5JNKWjcQl09cceOdVJCVOCYZYQwdWPZh1wlW_"},{"alg":"ECMR","crv":"P-521","key_ops":["deriveKey"],"kty":"EC","x":"A","y":"B"}]}`
	tangThumbprint = "Ko8fIleQn5tCIGReD-iiDa3t9hhcz97uslJVhK-aW4M"
)

func TestAThumbprintIsAsTangShowKeysPrintsIt(t *testing.T) {
	keys, err := thumbprints([]byte(`{"payload":"` + base64.RawURLEncoding.EncodeToString([]byte(tangSet)) + `"}`))
	if err != nil || !slices.Equal(keys, []string{tangThumbprint}) {
		t.Errorf("%q, %v", keys, err)
	}
}

func TestAServerThatIsNoTangServerIsNamedAsOne(t *testing.T) {
	for body, code := range map[string]int{
		"":                  http.StatusOK,
		"<html>":            http.StatusOK,
		`{"payload":"%"}`:   http.StatusOK,
		`{"payload":"e30"}`: http.StatusOK, // {}
		"gone":              http.StatusNotFound,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}))
		var bad *TangError
		if keys, err := TangKeys(t.Context(), server.URL); !errors.As(err, &bad) || bad.URL != server.URL {
			t.Errorf("%q: %q, %v", body, keys, err)
		}
		server.Close()
		if _, err := TangKeys(t.Context(), server.URL); !errors.As(err, &bad) {
			t.Errorf("one that is gone: %v", err)
		}
	}
}
