package boot

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// TangError says that a tang server can't be used.
type TangError struct {
	URL string
	Err error
}

func (e *TangError) Error() string { return fmt.Sprintf("the tang server %s: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *TangError) Unwrap() error { return e.Err }

// TangTrustError says that a tang server does not have the key that it was to
// be trusted by: it is another server, or somebody is in between.
type TangTrustError struct {
	URL, Wanted string
	// Offered are the thumbprints of the keys that it has.
	Offered []string
}

func (e *TangTrustError) Error() string {
	return fmt.Sprintf("the tang server %s does not sign with the key %s", e.URL, e.Wanted)
}

const (
	tangTime = 15 * time.Second
	// maxAdvertisement is a hundred times what a tang server sends, in bytes.
	maxAdvertisement = 1 << 20
)

// ValidTangURL returns a *TangError for what is no URL of a tang server.
func ValidTangURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return &TangError{URL: text, Err: errors.New("it is no URL")}
	case u.Scheme != "http" && u.Scheme != "https":
		return &TangError{URL: text, Err: errors.New("it begins neither with http:// nor with https://")}
	case u.Host == "":
		return &TangError{URL: text, Err: errors.New("it names no server")}
	case u.User != nil:
		return &TangError{URL: u.Redacted(), Err: errors.New("a password in it would be written into the header, for all to read")}
	}
	return nil
}

// TangKeys asks a tang server for the keys that it signs with, and returns
// their thumbprints, sorted: SHA-256 as `tang-show-keys` prints it (RFC 7638).
// clevis verifies the signatures. It returns a *TangError.
func TangKeys(ctx context.Context, server string) ([]string, error) {
	fail := func(err error) ([]string, error) { return nil, &TangError{URL: server, Err: err} }
	if err := ValidTangURL(server); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tangTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/adv", nil)
	if err != nil {
		return fail(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the URL is known
		}
		return fail(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("it answers %s", answer.Status))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAdvertisement))
	if err != nil {
		return fail(err)
	}
	keys, err := thumbprints(body)
	if err != nil {
		return fail(fmt.Errorf("it does not answer as a tang server: %w", err))
	}
	return keys, nil
}

// thumbprints reads an advertisement: a JWS (RFC 7515) around a set of JWKs
// (RFC 7517), of which those with the operation verify sign.
func thumbprints(advertisement []byte) ([]string, error) {
	var signed struct {
		Payload string `json:"payload"`
	}
	if err := json.Unmarshal(advertisement, &signed); err != nil {
		return nil, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct {
			Operations []string `json:"key_ops"`
			Type       string   `json:"kty"`
			Curve      string   `json:"crv"`
			X          string   `json:"x"`
			Y          string   `json:"y"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(payload, &set); err != nil {
		return nil, err
	}
	var all []string
	for _, key := range set.Keys {
		if key.Type != "EC" || !slices.Contains(key.Operations, "verify") {
			continue
		}
		// The required members in the order of their names, without white
		// space (RFC 7638, 3.2).
		text, err := json.Marshal(struct {
			Curve string `json:"crv"`
			Type  string `json:"kty"`
			X     string `json:"x"`
			Y     string `json:"y"`
		}{key.Curve, key.Type, key.X, key.Y})
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all = append(all, base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	if len(all) == 0 {
		return nil, errors.New("it names no key that it signs with")
	}
	slices.Sort(all)
	return all, nil
}
