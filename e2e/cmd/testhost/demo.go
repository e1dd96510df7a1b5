package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// demo is the main scenario, told to a person: every command is shown, run on
// a real host, and what it prints is its own.
type demo struct {
	*scenario.Stage
	ctx   context.Context
	part  int
	plain guest.Report
}

func runDemo(ctx context.Context) error {
	begin := time.Now()
	d := &demo{ctx: ctx}
	d.tell("A host of its own",
		"A whole Linux (Debian's user-mode Linux) boots as a process of yours. It has LVM, dm-crypt, libvirtd and QEMU,",
		"all of them the real ones. Your own disks, volumes and domains are out of its reach.",
		"Its disk is filled with noise first, as one that was used before.")
	var err error
	if d.Stage, err = scenario.Set(ctx, scenario.Options{}); err != nil {
		return err
	}
	defer d.PowerCut()
	for _, act := range []func() error{d.before, d.plan, d.move, d.compare, d.boot, d.back} {
		if err := act(); err != nil {
			return err
		}
	}
	fmt.Printf("\nThat took %.0f s. To try it by hand: make shell-testhost\n", time.Since(begin).Seconds())
	return d.Stop()
}

func (d *demo) before() error {
	d.tell("The guest, in plain",
		"imap is a mail server with two disks: a logical volume and a raw file. Anyone who gets at them can read the mail.")
	if err := d.show("virsh", "list", "--all"); err != nil {
		return err
	}
	if err := d.script(`lvs -o vg_name,lv_name,lv_size`); err != nil {
		return err
	}
	if err := d.script(`grep -c Auftragsverarbeitung /dev/vg0/lvimap_hd0   # lines of mail, found on the disk itself`); err != nil {
		return err
	}
	fmt.Println("\nIt boots, reads every byte of its disks, and tells what it read on its serial console:")
	var err error
	d.plain, err = d.bootGuest("imap")
	return err
}

func (d *demo) plan() error {
	d.tell("What would be done", "plan changes nothing.")
	return d.show("vmmigrate", "plan", "--vm", "imap")
}

func (d *demo) move() error {
	d.tell("The move", "One command. Most of its time here is the key derivation, which is meant to be slow.")
	return d.show("vmmigrate", "run", "--vm", "imap", "--key-file", scenario.KeyFile)
}

func (d *demo) compare() error {
	d.tell("What there is now",
		"The encrypted volumes, opened; the clone; and the original, as it was. cmp is not ours, and says nothing if all is the same.")
	for _, script := range []string{
		`lsblk -o NAME,SIZE,TYPE /dev/ubda`,
		`virsh list --all`,
		`cmp /dev/vg0/lvimap_hd0 /dev/mapper/cr_imap_vda && echo 'the same bytes'`,
		`cryptsetup luksDump /dev/vg0/imap-vda-luks | grep -E '^Version|cipher:|Cipher key|sector:'`,
		`grep -c Auftragsverarbeitung /dev/vg0/imap-vda-luks || true   # lines of mail on the new disk itself`,
	} {
		if err := d.script(script); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) boot() error {
	d.tell("The clone boots from its encrypted disks", "and has to read, byte for byte, what the original read:")
	encrypted, err := d.bootGuest("imap-luks")
	if err != nil {
		return err
	}
	for _, disk := range []string{"vda", "vdb"} {
		if encrypted.Disks[disk] != d.plain.Disks[disk] {
			return fmt.Errorf("%s is not what it was: %+v, now %+v", disk, d.plain.Disks[disk], encrypted.Disks[disk])
		}
	}
	fmt.Println("\nEvery size and every sum is the same.")
	return nil
}

func (d *demo) back() error {
	d.tell("And back", "Whoever wants the old world back has it: rollback removes the clone and its volumes, and nothing else.")
	if err := d.show("vmmigrate", "rollback", "--yes", "imap"); err != nil {
		return err
	}
	return d.script(`lvs -o vg_name,lv_name,lv_size; virsh list --all`)
}

// tell announces a part.
func (d *demo) tell(title string, words ...string) {
	d.part++
	fmt.Printf("\n%d. %s\n%s\n\n", d.part, bold(title), strings.Join(words, "\n"))
}

func bold(text string) string {
	if !term.IsTerminal(int(os.Stdout.Fd())) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// show shows a command and runs it, on a terminal if this is one.
func (d *demo) show(argv ...string) error { return d.run(command.Quote(argv), argv) }

// script is as show, for a line of shell.
func (d *demo) script(line string) error { return d.run(line, []string{"sh", "-c", line}) }

func (d *demo) run(shown string, argv []string) error {
	fmt.Println(bold("# " + shown))
	c := d.Command(argv...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if stdout := int(os.Stdout.Fd()); term.IsTerminal(stdout) {
		c.Env = []string{"TERM=" + os.Getenv("TERM"), "NO_COLOR=" + os.Getenv("NO_COLOR")}
		c.Pty = size(stdout)
	}
	_, err := c.Run(d.ctx)
	return err
}

func (d *demo) bootGuest(name string) (guest.Report, error) {
	fmt.Println(bold("# virsh start " + name))
	report, err := guest.Boot(d.ctx, d.Host, name)
	if err != nil {
		return report, err
	}
	fmt.Printf("  says    %s\n", report.Says)
	for _, disk := range []string{"vda", "vdb"} {
		fmt.Printf("  %s     %d bytes, SHA-256 %s\n", disk, report.Disks[disk].Size, report.Disks[disk].SHA256)
	}
	fmt.Printf("  and was off again after %.0f s\n", report.Took.Seconds())
	return report, nil
}
