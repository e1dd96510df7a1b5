package migrate

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/domainxml"
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
