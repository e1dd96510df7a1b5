package hypervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// short is a time limit that a test can wait for.
const short = 100 * time.Millisecond

// within fails the test when f takes longer than a call may, several times
// over; on a busy machine time is no measure of anything finer.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

func connect(t *testing.T, d *daemon, timeout time.Duration) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), Options{URI: d.uri(), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestADaemonThatNeverAnswersIsATimeout(t *testing.T) {
	for claim, d := range map[string]*daemon{
		"not even who may come in": newDaemon(t, map[uint32]reply{procAuthList: nil}),
		"who wants to open":        newDaemon(t, map[uint32]reply{procOpen: nil}),
	} {
		within(t, claim, func() {
			_, err := Dial(t.Context(), Options{URI: d.uri(), Timeout: short})
			var limit *TimeoutError
			if !errors.As(err, &limit) || limit.After != short || limit.Call != "connect" || !limit.Timeout() {
				t.Errorf("%s: %v", claim, err)
			}
		})
	}
}

func TestADaemonThatTakesNoMoreConnectionsIsATimeout(t *testing.T) {
	// A socket nobody accepts on, with its queue full.
	socket := filepath.Join(t.TempDir(), "sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	within(t, "dial", func() {
		_, err := Dial(t.Context(), Options{URI: "qemu:///system?socket=" + socket, Timeout: short})
		var limit *TimeoutError
		if !errors.As(err, &limit) {
			t.Error(err)
		}
	})
}

func TestACallThatIsNotAnsweredIsATimeoutAndTheNextOneConnectsAnew(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: nil})
	conn := connect(t, d, short)
	within(t, "the call", func() {
		_, err := conn.Domain(t.Context(), "a")
		var limit *TimeoutError
		if !errors.As(err, &limit) || limit.Call != `look up the domain "a"` || limit.After < short {
			t.Error(err)
		}
	})
	if version, err := conn.Version(t.Context()); err != nil || version.String() != "9.0.0" {
		t.Errorf("%s, %v", version, err)
	}
	if d.times(procOpen) != 2 {
		t.Errorf("connected %d times", d.times(procOpen))
	}
}

func TestACallThatMayTakeLongIsWaitedForWhileTheDaemonLives(t *testing.T) {
	late := func(conn net.Conn, head []byte) {
		time.Sleep(4 * short)
		send(conn, head, 0, 1, 'x'<<24)
	}
	d := newDaemon(t, map[uint32]reply{procToNative: late})
	conn := connect(t, d, short)
	within(t, "the check", func() {
		if err := conn.Validate(t.Context(), []byte("<domain/>")); err != nil {
			t.Error(err)
		}
	})
	if d.times(procVersion) == 0 {
		t.Error("the daemon was not asked whether it lives")
	}

	dead := newDaemon(t, map[uint32]reply{procToNative: nil, procVersion: nil})
	conn = connect(t, dead, short)
	within(t, "the check", func() {
		var limit *TimeoutError
		if err := conn.Validate(t.Context(), []byte("<domain/>")); !errors.As(err, &limit) {
			t.Error(err)
		}
	})
}

func TestACancelledCallReturnsAtOnceAndLeavesTheConnection(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: nil})
	conn := connect(t, d, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(short, cancel)
	within(t, "the call", func() {
		if _, err := conn.Domain(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if _, err := conn.Version(t.Context()); err != nil || d.times(procOpen) != 1 {
		t.Errorf("%v, connected %d times", err, d.times(procOpen))
	}
}

func TestGarbageIsAnErrorWhereverItComes(t *testing.T) {
	for claim, text := range map[string]string{
		"words":                       "HTTP/1.1 400 Bad Request\r\n\r\n",
		"a length of nothing":         "\x00\x00\x00\x00",
		"a length below the header's": "\x00\x00\x00\x1b" + strings.Repeat("x", 23),
		"a length of gigabytes":       "\xff\xff\xff\xf0" + strings.Repeat("x", 100),
		"zeros":                       strings.Repeat("\x00", 1000),
	} {
		for proc, where := range map[uint32]string{procAuthList: "at the door", procOpen: "on opening"} {
			d := newDaemon(t, map[uint32]reply{proc: raw(text)})
			within(t, claim, func() {
				_, err := Dial(t.Context(), Options{URI: d.uri(), Timeout: time.Hour})
				var gone *UnreachableError
				if !errors.As(err, &gone) || gone.Sockets[0] != d.socket {
					t.Errorf("%s %s: %v", claim, where, err)
				}
			})
		}
		d := newDaemon(t, map[uint32]reply{procByName: raw(text)})
		conn := connect(t, d, time.Hour)
		within(t, claim, func() {
			_, err := conn.Domain(t.Context(), "a")
			var lost *LostError
			if !errors.As(err, &lost) {
				t.Errorf("%s in a call: %v", claim, err)
			}
		})
	}
}

func TestAnAnswerOfTheWrongFormIsAnError(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: xdr(0x7fffffff, 1, 2)})
	conn := connect(t, d, time.Hour)
	within(t, "the call", func() {
		if got, err := conn.Domain(t.Context(), "a"); err == nil {
			t.Errorf("%+v", got)
		}
	})
}

func TestADaemonThatHangsUpMidwayIsAnError(t *testing.T) {
	half := func(conn net.Conn, _ []byte) {
		_, _ = conn.Write([]byte("\x00\x00\x00\x40\x20\x00\x80\x86\x00\x00"))
		conn.Close()
	}
	for claim, r := range map[string]reply{"before its answer": hangUp, "in the middle of its answer": half} {
		d := newDaemon(t, map[uint32]reply{procByName: r, procToNative: r})
		conn := connect(t, d, time.Hour)
		within(t, claim, func() {
			var lost *LostError
			if _, err := conn.Domain(t.Context(), "a"); !errors.As(err, &lost) {
				t.Errorf("%s: %v", claim, err)
			}
			// What only looks is asked again once, what may change is not.
			if d.times(procByName) != 2 {
				t.Errorf("%s: looked %d times", claim, d.times(procByName))
			}
			if err := conn.Validate(t.Context(), nil); !errors.As(err, &lost) {
				t.Errorf("%s: %v", claim, err)
			}
			if d.times(procToNative) != 1 {
				t.Errorf("%s: checked %d times", claim, d.times(procToNative))
			}
		})
	}
}

func TestARestartedDaemonIsFoundByTheNextCall(t *testing.T) {
	d := newDaemon(t, nil)
	conn := connect(t, d, time.Hour)
	d.stop()
	within(t, "a call while it is down", func() {
		_, err := conn.Version(t.Context())
		var gone *UnreachableError
		if !errors.As(err, &gone) || !strings.Contains(err.Error(), d.socket) {
			t.Error(err)
		}
	})
	d.start(t)
	within(t, "a call once it is up", func() {
		if _, err := conn.Version(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestClosingNeverWaitsAndEndsWhatIsUnderWay(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: nil})
	conn := connect(t, d, time.Hour)
	ended := make(chan error)
	go func() {
		_, err := conn.Domain(t.Context(), "a")
		ended <- err
	}()
	for d.times(procByName) == 0 {
		time.Sleep(time.Millisecond)
	}
	within(t, "close", conn.Close)
	within(t, "the call under way", func() {
		if err := <-ended; !errors.Is(err, errClosed) {
			t.Error(err)
		}
	})
	if _, err := conn.Version(t.Context()); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	within(t, "close again", conn.Close)
}

func TestClosingDoesNotWaitForAConnectionBeingMade(t *testing.T) {
	d := newDaemon(t, nil)
	conn := connect(t, d, time.Hour)
	d.stop()
	d.mu.Lock()
	d.replies[procOpen] = nil
	d.mu.Unlock()
	d.start(t)
	go func() { _, _ = conn.Version(t.Context()) }()
	within(t, "the second connection", func() {
		for d.times(procOpen) < 2 {
			time.Sleep(time.Millisecond)
		}
	})
	within(t, "close", conn.Close)
}

func TestWhereNothingAnswersTheErrorTellsWhatWasTried(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	_, err := Dial(t.Context(), Options{URI: "qemu:///system?socket=" + socket})
	var gone *UnreachableError
	if !errors.As(err, &gone) || len(gone.Sockets) != 1 || gone.Sockets[0] != socket || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestLibvirtsRefusalComesWithItsWords(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procToNative: refuse(67, "unsupported configuration: ä"), procByName: refuse(42, "Domain not found"), procByUUID: refuse(42, "Domain not found")})
	conn := connect(t, d, time.Hour)
	var refused *RefusedError
	if err := conn.Validate(t.Context(), nil); !errors.As(err, &refused) || refused.Code != 67 || refused.Message != "unsupported configuration: ä" {
		t.Error(err)
	}
	var missing *NotFoundError
	if _, err := conn.Domain(t.Context(), "a"); !errors.As(err, &missing) || missing.Name != "a" {
		t.Error(err)
	}
	if _, err := conn.DomainByUUID(t.Context(), "6a1f6c1e-0b7d-4d5c-9a51-000000000001"); !errors.As(err, &missing) {
		t.Error(err)
	}
	if asked := d.times(procByUUID); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := conn.DomainByUUID(t.Context(), "6a1f6c1e"); !errors.As(err, &missing) || d.times(procByUUID) != 1 {
		t.Errorf("%v, asked %d times", err, d.times(procByUUID))
	}
}

func TestNothingIsDefinedWhereADomainWouldBeReplaced(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: aDomain("a"), procState: xdr(5, 1), procPersistent: xdr(0), procDefine: nil})
	conn := connect(t, d, time.Hour)
	_, err := conn.Define(t.Context(), []byte("<domain><name>a</name><uuid>11111111-0b7d-4d5c-9a51-000000000001</uuid></domain>"))
	var exists *ExistsError
	if !errors.As(err, &exists) || exists.UUID != "6a1f6c1e-0b7d-4d5c-9a51-000000000001" || exists.By != "name" {
		t.Error(err)
	}
	for _, text := range []string{"", "<domain><name>a</name></domain>", "<domain><name>a</name><uuid>x</uuid></domain>", "<network><name>a</name><uuid>11111111-0b7d-4d5c-9a51-000000000001</uuid></network>"} {
		if _, err := conn.Define(t.Context(), []byte(text)); err == nil {
			t.Errorf("%q was defined", text)
		}
	}
	if d.times(procDefine) != 0 {
		t.Error("libvirt was asked to define")
	}
}

func TestManyCallsAtOnceShareOneConnection(t *testing.T) {
	d := newDaemon(t, map[uint32]reply{procByName: aDomain("a"), procState: xdr(1, 1), procPersistent: xdr(0)})
	conn := connect(t, d, time.Hour)
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			got, err := conn.Domain(t.Context(), "a")
			if err == nil && got.State != Running {
				err = errors.New(string(got.State))
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if d.times(procOpen) != 1 {
		t.Errorf("connected %d times", d.times(procOpen))
	}
}
