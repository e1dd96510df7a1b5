package lifecycle

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
)

// systemd is a fake systemctl, on the true files below a folder.
type systemd struct {
	root   string
	active map[string]bool
	ran    []string
	fail   string // the verb that fails
	failed string // the unit that did when it was started last
}

const wants = "/etc/systemd/system/multi-user.target.wants/"

func (s *systemd) Run(_ context.Context, cmd command.Cmd) (command.Result, error) {
	words := slices.DeleteFunc(slices.Clone(cmd.Args), func(word string) bool { return strings.HasPrefix(word, "--") })
	s.ran = append(s.ran, strings.Join(words, " "))
	if words[0] == s.fail {
		return command.Result{}, &command.Error{Argv: []string{"systemctl"}, ExitCode: 1, Stderr: "no"}
	}
	link := func() string { return filepath.Join(s.root, wants, words[1]) }
	switch words[0] {
	case "enable":
		if err := os.MkdirAll(filepath.Dir(link()), 0o755); err != nil {
			return command.Result{}, err
		}
		_ = os.Remove(link())
		return command.Result{}, os.Symlink("/usr/lib/systemd/system/"+boot.Template, link())
	case "disable":
		return command.Result{}, os.Remove(link())
	case "start":
		s.active[words[1]] = true
	case "stop":
		delete(s.active, words[1])
	case "show":
		state := "inactive"
		if s.active[words[1]] {
			state = "active"
		}
		result := "success"
		if s.failed == words[1] {
			state, result = "failed", "exit-code"
		}
		return command.Result{Stdout: []byte("LoadState=loaded\nActiveState=" + state + "\nResult=" + result + "\n")}, nil
	}
	return command.Result{}, nil
}

// booted gives a world a host with systemd and this crypttab; none is "-".
func booted(t *testing.T, w *world, crypttab string) *systemd {
	t.Helper()
	s := &systemd{root: t.TempDir(), active: map[string]bool{}}
	for _, folder := range []string{"/run/systemd/system", "/usr/lib/systemd/system", "/etc"} {
		no(t, os.MkdirAll(filepath.Join(s.root, folder), 0o755))
	}
	for _, file := range []string{"/usr/lib/systemd/system/" + boot.Template, "/usr/lib/systemd/systemd-cryptsetup", "/usr/lib/systemd/system/clevis-luks-askpass.path"} {
		no(t, os.WriteFile(filepath.Join(s.root, file), nil, 0o644))
	}
	if crypttab != "-" {
		no(t, os.WriteFile(filepath.Join(s.root, boot.Crypttab), []byte(crypttab), 0o640))
	}
	w.Boot, w.Enroller = &boot.Host{Run: s, Root: s.root}, &machines{vault: w.vault, tokens: map[string][]Token{}}
	w.autostarts(cloneUUID, true)
	return s
}

// autostarts sets libvirt's autostart.
func (w *world) autostarts(uuid string, on bool) {
	w.t.Helper()
	no(w.t, w.virt.SetAutostart(w.t.Context(), uuid, on))
}

// all is every file below etc, with its bytes, and what libvirt says.
func (s *systemd) all(t *testing.T, w *world) string {
	t.Helper()
	var out strings.Builder
	no(t, filepath.WalkDir(filepath.Join(s.root, "etc"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, _ := os.ReadFile(path) // a link leads nowhere here
		out.WriteString(strings.TrimPrefix(path, s.root) + " " + info.Mode().String() + "\n" + string(text) + "\n")
		return nil
	}))
	d, err := w.virt.DomainByUUID(t.Context(), cloneUUID)
	no(t, err)
	if d.Autostart {
		out.WriteString("libvirt starts it\n")
	}
	for _, device := range []string{"/dev/vg0/imap-vda-luks", "/dev/vg0/imap-vdb-luks"} {
		header, err := w.vault.Header(t.Context(), device)
		no(t, err)
		tokens, err := w.Enroller.Tokens(t.Context(), device)
		no(t, err)
		out.WriteString(device)
		for _, slot := range header.Keyslots {
			out.WriteString(" slot " + string(rune('0'+slot.ID)))
		}
		for _, token := range tokens {
			out.WriteString(" token " + token.Type)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// machines enrolls TPMs and their like in the vault, a slot and a token each.
type machines struct {
	*vault
	tokens map[string][]Token
	idle   bool // enrolls nothing
}

func (m *machines) Tokens(_ context.Context, device string) ([]Token, error) {
	return slices.Clone(m.tokens[m.Resolve(device)]), nil
}

func (m *machines) Enroll(ctx context.Context, device string, unlock boot.Unlock, key luks.Key) ([]string, error) {
	if m.idle {
		return nil, nil
	}
	header, err := m.Header(ctx, device)
	if err != nil {
		return nil, err
	}
	slot := 0
	for header.HasSlot(slot) {
		slot++
	}
	added, err := luks.NewKey([]byte("made up by " + string(unlock.Method)))
	if err != nil {
		return nil, err
	}
	if err := m.AddKey(ctx, device, key, added, luks.AddKeyOptions{Slot: slot}); err != nil {
		return nil, err
	}
	at := m.Resolve(device)
	id := 0
	for _, token := range m.tokens[at] {
		id = max(id, token.ID+1)
	}
	m.tokens[at] = append(m.tokens[at], Token{ID: id, Type: tokenTypes[unlock.Method], Slots: []int{slot}})
	return []string{"its registers are empty"}, nil
}

func (m *machines) RemoveToken(_ context.Context, device string, id int) error {
	at := m.Resolve(device)
	m.tokens[at] = slices.DeleteFunc(m.tokens[at], func(t Token) bool { return t.ID == id })
	return nil
}
