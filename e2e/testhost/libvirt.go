package testhost

import (
	"context"
	"fmt"
	"time"
)

// qemuConf makes QEMU run without what the host has not: users other than
// root that own its devices, cgroup controllers, a security driver.
const qemuConf = `user = "root"
group = "root"
cgroup_controllers = []
security_driver = "none"
`

// StartLibvirt starts libvirtd and virtlogd and returns when qemu:///system
// answers.
func (h *Host) StartLibvirt(ctx context.Context) error {
	begin := time.Now()
	if h.systemd {
		// Enabled, so that the next boot with the same Persist has it too.
		if _, err := h.Shell(ctx, `systemctl -q enable --now libvirtd.service libvirt-guests.service; virsh -q -c qemu:///system list --all`); err != nil {
			return fmt.Errorf("start libvirtd: %w", err)
		}
		fmt.Fprintf(h.log, "test host: libvirtd answers after %.1f s\n", time.Since(begin).Seconds())
		return nil
	}
	// The machine's own configuration is readable by root alone, and a harness
	// that is not root can't lift it into the overlay to be overwritten. And
	// on a terminal virsh starts an agent for polkit, which does not run here,
	// and complains.
	if _, err := h.Run(ctx, "rm", "-f", "/etc/libvirt/qemu.conf", "/usr/bin/pkttyagent"); err != nil {
		return err
	}
	if err := h.WriteFile(ctx, "/etc/libvirt/qemu.conf", []byte(qemuConf), 0o600); err != nil {
		return err
	}
	if _, err := h.Shell(ctx, `virtlogd -d; libvirtd -d; virsh -q -c qemu:///system list --all`); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	fmt.Fprintf(h.log, "test host: libvirtd answers after %.1f s\n", time.Since(begin).Seconds())
	return nil
}
