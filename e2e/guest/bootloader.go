package guest

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// grubDir holds GRUB's parts for PC BIOS, of the package grub-pc-bin.
const grubDir = "/usr/lib/grub/i386-pc"

// grubConfig is run by GRUB's core itself, with no menu. The kernel's words
// keep it from waiting for and measuring what a guest under emulation has not.
const grubConfig = `set root=(hd0,gpt2)
linux /boot/vmlinuz console=ttyS0 quiet nokaslr mitigations=off no_timer_check tsc=reliable random.trust_cpu=on panic=-1
initrd /boot/initrd
boot
`

// Where boot.img and the first sector of core.img name the next sector to
// load: GRUB_BOOT_MACHINE_KERNEL_SECTOR in include/grub/i386/pc/boot.h, and
// the first block list entry at the end of diskboot.S.
const (
	bootCodeSize    = 440 // up to the disk signature and the partition table
	bootKernelField = 0x5c
	bootDriveCheck  = 0x66
	coreListField   = sector - 12
)

// installBootloader does to the image what grub-bios-setup(8) does to a disk:
// the boot sector loads the core's first sector from the BIOS boot partition,
// and that loads the rest.
func installBootloader(ctx context.Context, dir, image string) error {
	config, core := filepath.Join(dir, "grub.cfg"), filepath.Join(dir, "core.img")
	defer os.Remove(config)
	defer os.Remove(core)
	if err := os.WriteFile(config, []byte(grubConfig), 0o644); err != nil {
		return err
	}
	_, err := output(ctx, dir, "grub-mkimage", "--format=i386-pc", "--prefix=(hd0,gpt2)/boot/grub",
		"--config="+config, "--output="+core, "biosdisk", "part_gpt", "ext2", "linux", "boot")
	if err != nil {
		return err
	}
	boot, err := os.ReadFile(filepath.Join(grubDir, "boot.img"))
	if err != nil {
		return err
	}
	coreBytes, err := os.ReadFile(core)
	if err != nil {
		return err
	}
	if len(boot) != sector || len(coreBytes) > coreLength*sector {
		return fmt.Errorf("grub's boot.img of %d bytes and core.img of %d do not fit", len(boot), len(coreBytes))
	}

	binary.LittleEndian.PutUint64(boot[bootKernelField:], coreStart)
	// A hard disk's number is right as the BIOS passes it; grub-bios-setup
	// puts two NOPs here as well.
	boot[bootDriveCheck], boot[bootDriveCheck+1] = 0x90, 0x90
	binary.LittleEndian.PutUint64(coreBytes[coreListField:], coreStart+1)
	if err := writeAt(image, 0, boot[:bootCodeSize]); err != nil {
		return err
	}
	return writeAt(image, coreStart*sector, coreBytes)
}
