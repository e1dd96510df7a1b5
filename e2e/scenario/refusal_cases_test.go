//go:build e2e

package scenario

// prelude makes what several of the refusals need: a tool to define domains
// that are like imap but for an edit.
const prelude = `
cat >/root/like-imap <<'END'
#!/bin/sh -eu
# like-imap NAME SED-SCRIPT
virsh dumpxml --inactive --security-info imap |
	sed -e "s|<name>.*|<name>$1</name>|; /<uuid>/d; s|imap-serial|$1-serial|; /<mac /d" -e "$2" >/root/like.xml
virsh -q define /root/like.xml
END
chmod +x /root/like-imap
`

// needed is how many extents the guest's two volumes take: 48 MiB and 10 MiB,
// each rounded up and with 16 MiB for the LUKS2 header.
const needed = "23"

var refusals = []refusal{
	{claim: "no such VM", run: []string{"run", "--vm", "imab", "--key-file", KeyFile}, says: []string{"imab", "imap"}},
	{claim: "no VM named at all", run: []string{"run", "--key-file", KeyFile}, says: []string{"--vm"}, exit: []int{Usage}},
	{
		claim: "the VM runs", prepare: `virsh -q start --paused imap`, restore: `virsh -q destroy imap`,
		says: []string{"imap", "virsh shutdown"},
	},
	{
		claim: "a managed save is present", prepare: `virsh -q start --paused imap; virsh -q managedsave imap`, restore: `virsh -q managedsave-remove imap`,
		says: []string{"managed save"},
	},
	{
		claim: "snapshots are present",
		prepare: `uuid=$(virsh domuuid imap)
			echo "<domainsnapshot><name>before</name><state>shutoff</state><creationTime>1700000000</creationTime><memory snapshot='no'/>
			<domain type='qemu'><name>imap</name><uuid>$uuid</uuid><memory>1024</memory><os><type>hvm</type></os></domain></domainsnapshot>" >/root/snapshot.xml
			virsh -q snapshot-create imap --redefine /root/snapshot.xml`,
		restore: `virsh -q snapshot-delete imap before --metadata`,
		says:    []string{"snapshot"},
	},
	{
		claim: "the volume group is missing", run: []string{"run", "--vm", "imap", "--key-file", KeyFile, "--vg", "vg9"},
		says: []string{"vg9"},
	},
	{
		claim: "the volume group is full", prepare: `lvcreate -q --yes -Wn -l 100%FREE -n filler vg0`, restore: `lvremove -q --yes vg0/filler`,
		says: []string{"vg0"},
	},
	{
		claim: "the volume group is one extent short",
		prepare: `free=$(vgs --noheadings -o vg_free_count vg0)
			lvcreate -q --yes -Wn -l $((free - ` + needed + ` + 1)) -n filler vg0`,
		restore: `lvremove -q --yes vg0/filler`,
		says:    []string{"vg0"},
	},
	{
		claim: "the volume's name is taken", prepare: `lvcreate -q --yes -Wn -l 1 -n imap-vda-luks vg0`, restore: `lvremove -q --yes vg0/imap-vda-luks`,
		says: []string{"imap-vda-luks"},
	},
	{
		claim: "the mapping's name is taken", prepare: `dmsetup create cr_imap_vda --table '0 8 error'`, restore: `dmsetup remove --retry cr_imap_vda`,
		says: []string{"cr_imap_vda"},
	},
	{
		claim: "the clone's name is taken", prepare: `/root/like-imap imap-luks 's/vda/vdx/'`, restore: `virsh -q undefine imap-luks`,
		says: []string{"imap-luks"},
	},
	{
		claim: "the source volume is missing", prepare: `lvrename -q vg0 lvimap_hd0 elsewhere`, restore: `lvrename -q vg0 elsewhere lvimap_hd0`,
		says: []string{"/dev/vg0/lvimap_hd0"},
	},
	{
		claim:   "the source file is missing",
		prepare: `mv /var/lib/libvirt/images/imap-data.raw /root/`, restore: `mv /root/imap-data.raw /var/lib/libvirt/images/`,
		says: []string{"imap-data.raw"},
	},
	{
		// Its partition table still tells of the size it had.
		claim: "the source has shrunk", prepare: `lvreduce -q -f -y -l -1 vg0/lvimap_hd0`, restore: `lvextend -q -l +1 vg0/lvimap_hd0`,
		says: []string{"/dev/vg0/lvimap_hd0"},
	},
	{
		claim: "the source is LUKS already",
		prepare: `lvcreate -q --yes -Wn -L 32M -n secret vg0
			cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vg0/secret ` + KeyFile + `
			/root/like-imap vault 's|/dev/vg0/lvimap_hd0|/dev/vg0/secret|; s|imap-data|vault-data|'`,
		restore: `virsh -q undefine vault; lvremove -q --yes vg0/secret`,
		run:     []string{"run", "--vm", "vault", "--key-file", KeyFile},
		says:    []string{"/dev/vg0/secret", "LUKS"},
	},
	{
		claim: "another VM runs on the source", prepare: `/root/like-imap twin ''; virsh -q start --paused twin`, restore: `virsh -q destroy twin; virsh -q undefine twin`,
		says: []string{"twin"},
	},
	{
		claim: "the disk is shared", prepare: `/root/like-imap cluster "s|<serial>MAIL-0001</serial>|<shareable/>|"`, restore: `virsh -q undefine cluster`,
		run: []string{"run", "--vm", "cluster", "--key-file", KeyFile}, says: []string{"vda", "share"},
	},
	{
		claim: "the disk is on the network",
		prepare: `/root/like-imap remote "s|<disk type='block'|<disk type='network'|
			s|<source dev='/dev/vg0/lvimap_hd0'/>|<source protocol='nbd' name='x'><host name='127.0.0.1' port='10809'/></source>|"`,
		restore: `virsh -q undefine remote`,
		run:     []string{"run", "--vm", "remote", "--key-file", KeyFile}, says: []string{"vda", "network"},
	},
	{
		claim: "the key file is missing", run: []string{"run", "--vm", "imap", "--key-file", "/root/no.key"},
		says: []string{"/root/no.key"}, exit: []int{Usage, Refused},
	},
	{
		claim: "the key file is empty", prepare: `: >/root/empty.key; chmod 600 /root/empty.key`, restore: `rm /root/empty.key`,
		run:  []string{"run", "--vm", "imap", "--key-file", "/root/empty.key"},
		says: []string{"/root/empty.key", "empty"}, exit: []int{Usage, Refused},
	},
	{
		claim: "cryptsetup is not installed", prepare: `mv /usr/sbin/cryptsetup /root/`, restore: `mv /root/cryptsetup /usr/sbin/`,
		says: []string{"cryptsetup", "cryptsetup-bin"},
	},
	{
		claim: "a flag that does not exist", run: []string{"run", "--vm", "imap", "--vgg", "vg0"},
		says: []string{"vgg"}, exit: []int{Usage},
	},
	{
		claim: "a flag after a name", run: []string{"rollback", "imap", "--no-such"},
		says: []string{"no-such"}, exit: []int{Usage},
	},
	{
		claim: "no terminal to ask on, and no --yes", run: []string{"run", "--all", "--key-file", KeyFile},
		says: []string{"--yes"}, exit: []int{Usage},
	},
}
