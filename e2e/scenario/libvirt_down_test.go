//go:build e2e

package scenario

// blind are the refusals during which the world can't be looked at, for
// libvirtd does not answer: it is looked at before and after them.
var blind = []refusal{
	{
		claim: "libvirtd does not run", prepare: stopLibvirt, restore: startLibvirt,
		says: []string{"libvirt", "systemctl"},
	},
	{
		claim: "libvirtd hangs", prepare: `kill -STOP "$(cat /run/libvirtd.pid)"`, restore: `kill -CONT "$(cat /run/libvirtd.pid)"`,
		run:  append([]string{"run", "--vm", "imap", "--key-file", KeyFile}, cheap...),
		says: []string{"libvirt", "did not answer"},
	},
	{
		// The daemon wants a name and a password, which vmmigrate has not.
		claim:   "libvirtd refuses",
		prepare: stopLibvirt + `; echo 'auth_unix_rw = "sasl"' >>/etc/libvirt/libvirtd.conf; libvirtd -d`,
		restore: `sed -i '/^auth_unix_rw = "sasl"/d' /etc/libvirt/libvirtd.conf; ` + stopLibvirt + "; " + startLibvirt,
		says:    []string{"libvirt"},
	},
	{
		claim: "libvirtd runs as another service than is asked for", run: []string{"run", "--vm", "imap", "--key-file", KeyFile, "--connect", "xen:///system"},
		says: []string{"xen"}, exit: []int{Usage, Refused},
	},
	{
		claim: "lvm2 is not installed", prepare: `mv /usr/sbin/lvm /root/`, restore: `mv /root/lvm /usr/sbin/`,
		says: []string{"lvm2"},
	},
}

const (
	stopLibvirt  = `kill "$(cat /run/libvirtd.pid)"; while pgrep -x libvirtd >/dev/null; do sleep 0.1; done`
	startLibvirt = `libvirtd -d; virsh -q list >/dev/null`
)
