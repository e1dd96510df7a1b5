package migrate

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// FirmwarePlan says which of the firmware's own state is copied for the clone.
type FirmwarePlan struct {
	// Files are the files and folders to copy.
	Files []FirmwareFile `json:"files,omitempty"`
	// NVRAM and TPMState are the clone's paths, where its definition names
	// them.
	NVRAM    string `json:"nvram,omitempty"`
	TPMState string `json:"tpm_state,omitempty"`
}

// FirmwareFile is a file, or a folder with all that is in it, to copy with its
// owners and modes.
type FirmwareFile struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// swtpmDir is where libvirt's QEMU driver keeps the state of TPM emulators, a
// folder named after the domain's UUID (docs/formatdomain.rst, "TPM device").
const swtpmDir = "/var/lib/libvirt/swtpm"

// nvramDir is where libvirt's QEMU driver makes the UEFI variables of a VM that
// has none, named after it (docs/formatdomain.rst, "nvram").
const nvramDir = "/var/lib/libvirt/qemu/nvram"

// planFirmware decides what of the firmware's state the clone gets its own
// copy of. State that does not exist yet is made by libvirt at the clone's
// first start.
func (d *Decider) planFirmware(plan *Plan, vm *DomainFacts) {
	firmware := vm.XML.Firmware()
	if nvram := firmware.NVRAM; nvram != nil && nvram.Path != "" {
		if nvram.Refusal != "" {
			plan.block(NotMovable, "", "", "its NVRAM can't be copied: %s", nvram.Refusal)
			return
		}
		name := lvm.Sanitise(plan.Clone.Name) + nvramSuffix(nvram.Path)
		plan.Firmware.NVRAM = filepath.Join(filepath.Dir(nvram.Path), name)
		d.addFirmware(plan, vm, FirmwareFile{"NVRAM", nvram.Path, plan.Firmware.NVRAM})
	}
	for _, tpm := range firmware.TPMs {
		if tpm.Backend != "emulator" {
			plan.warn(WarnXML, "", "", "its TPM is the host's own (%s): what a guest sealed with it opens in no other", tpm.Backend)
			continue
		}
		from, to := filepath.Join(swtpmDir, plan.VMUUID), filepath.Join(swtpmDir, plan.Clone.UUID)
		if tpm.State != "" {
			from, to = tpm.State, tpm.State+"-"+plan.Clone.UUID
			plan.Firmware.TPMState = to
		}
		d.addFirmware(plan, vm, FirmwareFile{"TPM state", from, to})
		if tpm.Secret == "" && vm.Files[from] {
			plan.warn(WarnPlaintext, "", "", "the TPM's state stays unencrypted on the host, in %s", to)
		}
	}
	if plan.Firmware.NVRAM != "" && vm.Files[firmware.NVRAM.Path] {
		plan.warn(WarnPlaintext, "", "", "the UEFI variables stay unencrypted on the host, in %s", plan.Firmware.NVRAM)
	}
}

// judgeNVRAM blocks a clone that would start with the UEFI variables of another
// VM, one that had its name: libvirt takes what is there.
func (d *Decider) judgeNVRAM(plan *Plan, vm *DomainFacts) {
	for _, blocker := range plan.Blockers {
		if blocker.Code == JobUnfinished || blocker.Code == CloneTaken {
			return // then they are that one's
		}
	}
	firmware := vm.XML.Firmware()
	path := plan.Firmware.NVRAM
	if path == "" && (firmware.Auto == "efi" || firmware.NVRAM != nil) {
		path = filepath.Join(nvramDir, plan.Clone.Name+"_VARS.fd")
	}
	if path != "" && slices.Contains(d.Facts.NVRAMs, path) {
		plan.block(NVRAMTaken, "", "move it away: "+command.Quote([]string{"mv", path, path + ".old"}),
			"UEFI variables of an earlier VM called %q lie in %s, and libvirt would have the clone boot by them", plan.Clone.Name, path)
	}
}

func (d *Decider) addFirmware(plan *Plan, vm *DomainFacts, file FirmwareFile) {
	if vm.Files[file.From] {
		plan.Firmware.Files = append(plan.Firmware.Files, file)
	}
}

// nvramSuffix keeps what libvirt puts behind the domain's name, as in
// imap_VARS.fd.
func nvramSuffix(path string) string {
	base := filepath.Base(path)
	if i := strings.LastIndex(base, "_VARS"); i >= 0 {
		return base[i:]
	}
	return "_VARS" + filepath.Ext(base)
}

// firmwareFiles looks which of a domain's firmware state exists.
func (e *Env) firmwareFiles(ctx context.Context, uuid string, vm *domainxml.Domain) (map[string]bool, error) {
	files := make(map[string]bool)
	firmware := vm.Firmware()
	var paths []string
	if firmware.NVRAM != nil && firmware.NVRAM.Path != "" {
		paths = append(paths, firmware.NVRAM.Path)
	}
	for _, tpm := range firmware.TPMs {
		if tpm.State != "" {
			paths = append(paths, tpm.State)
		} else {
			paths = append(paths, filepath.Join(swtpmDir, uuid))
		}
	}
	for _, path := range paths {
		there, err := e.Devices.Exists(ctx, path)
		if err != nil {
			return nil, err
		}
		files[path] = there
	}
	return files, nil
}
