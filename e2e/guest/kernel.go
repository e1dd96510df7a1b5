package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// kernel is Debian's kernel for virtual machines, unpacked, not installed.
type kernel struct {
	version string
	image   string // vmlinuz
	modules string // the folder with kernel/
}

// findKernel returns the kernel that cache holds, and fetches it with apt if
// it holds none.
func findKernel(ctx context.Context, cache string) (kernel, error) {
	unpacked := filepath.Join(cache, "kernel")
	if k, err := kernelIn(unpacked); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return kernel{}, err
	}
	work, err := os.MkdirTemp(cache, "kernel-")
	if err != nil {
		return kernel{}, err
	}
	defer os.RemoveAll(work)

	pkg, err := kernelPackage(ctx)
	if err != nil {
		return kernel{}, err
	}
	// The sandbox user may not write to a cache folder below a home.
	if _, err := output(ctx, work, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", pkg); err != nil {
		return kernel{}, err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return kernel{}, err
	}
	if len(debs) != 1 {
		return kernel{}, fmt.Errorf("apt-get download %s left %d packages", pkg, len(debs))
	}
	if _, err := output(ctx, work, "dpkg-deb", "-x", debs[0], "root"); err != nil {
		return kernel{}, err
	}
	// Another harness may have been quicker; its kernel is as good.
	if err := os.Rename(filepath.Join(work, "root"), unpacked); err != nil && !os.IsExist(err) {
		return kernel{}, err
	}
	return kernelIn(unpacked)
}

func kernelIn(dir string) (kernel, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err != nil {
		return kernel{}, err
	}
	if len(found) != 1 {
		return kernel{}, fmt.Errorf("%s holds %d kernels, not one", dir, len(found))
	}
	version := filepath.Base(found[0])
	return kernel{version: version, image: filepath.Join(dir, "boot/vmlinuz-"+version), modules: found[0]}, nil
}

var kernelDependency = regexp.MustCompile(`Depends: (linux-image-\S+-cloud-amd64)`)

// kernelPackage returns the package that linux-image-cloud-amd64 stands for
// now, such as linux-image-6.1.0-44-cloud-amd64.
func kernelPackage(ctx context.Context) (string, error) {
	text, err := output(ctx, "", "apt-cache", "depends", "linux-image-cloud-amd64")
	if err != nil {
		return "", fmt.Errorf("%w (if apt knows no packages yet: apt-get update)", err)
	}
	found := kernelDependency.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("apt-cache names no kernel for linux-image-cloud-amd64: %s", text)
	}
	return string(found[1]), nil
}

// output runs a program of the machine in dir and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // not in the PATH of everybody
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "E2FSPROGS_FAKE_TIME=1700000000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return out, nil
}
