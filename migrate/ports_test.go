package migrate

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// volumes implements Volumes.
type volumes struct{ w *world }

var _ Volumes = volumes{}

func (v volumes) VGs(ctx context.Context) ([]lvm.VG, error) {
	return port(v.w, "lvm: groups", func() ([]lvm.VG, error) { return v.w.lvm.VGs(ctx) })
}

func (v volumes) LVs(ctx context.Context) ([]lvm.LV, error) {
	return port(v.w, "lvm: volumes", func() ([]lvm.LV, error) {
		all, err := v.w.lvm.LVs(ctx)
		for i := range all {
			all[i].Active = v.w.active(all[i].Path)
		}
		return all, err
	})
}

func (v volumes) LV(ctx context.Context, vg, name string) (lvm.LV, error) {
	return port(v.w, "lvm: volume", func() (lvm.LV, error) {
		lv, err := v.w.lvm.LV(ctx, vg, name)
		lv.Active = v.w.active(lv.Path)
		return lv, err
	})
}

func (w *world) active(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.inactive[path]
}

func (v volumes) Create(ctx context.Context, spec lvm.Spec) (lvm.LV, error) {
	return port(v.w, "act: create", func() (lvm.LV, error) {
		v.w.mustIntend(CreateVolume)
		v.w.mu.Lock()
		delete(v.w.inactive, "/dev/"+spec.VG+"/"+spec.Name) // a new volume is active
		v.w.mu.Unlock()
		return v.w.lvm.Create(ctx, spec)
	})
}

func (v volumes) Remove(ctx context.Context, vg, name, tag string) error {
	return does(v.w, "act: remove", func() error {
		v.w.mustIntend(CreateVolume)
		return v.w.lvm.Remove(ctx, vg, name, tag)
	})
}

func (v volumes) Activate(_ context.Context, vg, name string) error {
	return does(v.w, "act: activate", func() error {
		v.w.mu.Lock()
		defer v.w.mu.Unlock()
		delete(v.w.inactive, "/dev/"+vg+"/"+name)
		return nil
	})
}

func (v volumes) Deactivate(ctx context.Context, device string) ([]string, error) {
	return port(v.w, "act: deactivate", func() ([]string, error) { return v.w.lvm.Deactivate(ctx, device) })
}

// encryption implements Encryption.
type encryption struct{ w *world }

var _ Encryption = encryption{}

func (e encryption) IsLUKS(ctx context.Context, device string) (bool, error) {
	return port(e.w, "luks: is it", func() (bool, error) {
		if e.w.source(device) != nil {
			return false, nil
		}
		return e.w.luks.IsLUKS(ctx, device)
	})
}

func (e encryption) Header(ctx context.Context, device string) (luks.Header, error) {
	return port(e.w, "luks: header", func() (luks.Header, error) { return e.w.luks.Header(ctx, device) })
}

func (e encryption) Format(ctx context.Context, spec luks.FormatSpec, key luks.Key) (luks.Header, error) {
	return port(e.w, "act: format", func() (luks.Header, error) {
		e.w.mustIntend(Format)
		header, err := e.w.luks.Format(ctx, spec, key)
		if err == nil {
			e.w.mu.Lock()
			// A new volume key makes noise of all that was written.
			e.w.forget(e.w.luks.Resolve(spec.Device))
			e.w.mu.Unlock()
		}
		return header, err
	})
}

func (e encryption) Open(ctx context.Context, device, mapper string, key luks.Key, options luks.OpenOptions) error {
	return does(e.w, "act: open", func() error {
		e.w.mustIntend(Open)
		err := e.w.luks.Open(ctx, device, mapper, key, options)
		if err == nil {
			e.w.mu.Lock()
			e.w.opened[mapper] = options
			e.w.mu.Unlock()
		}
		return err
	})
}

func (e encryption) Close(ctx context.Context, mapper string) error {
	return does(e.w, "act: close", func() error {
		e.w.mustIntend(Open, Close)
		return e.w.luks.Close(ctx, mapper)
	})
}

func (e encryption) TestKey(ctx context.Context, device string, key luks.Key) error {
	return does(e.w, "luks: test key", func() error { return e.w.luks.TestKey(ctx, device, key) })
}

func (e encryption) Mapping(ctx context.Context, mapper string) (luks.Mapping, error) {
	return port(e.w, "luks: mapping", func() (luks.Mapping, error) {
		mapping, err := e.w.luks.Mapping(ctx, mapper)
		mapping.File = e.w.fileOf(mapping.Device)
		return mapping, err
	})
}

func (e encryption) HeaderBackup(ctx context.Context, device, file string) error {
	return does(e.w, "act: header backup", func() error {
		e.w.mustIntend(HeaderBackup)
		return e.w.luks.HeaderBackup(ctx, device, file)
	})
}

func (e encryption) Try(ctx context.Context, spec luks.FormatSpec) error {
	return e.w.luks.Try(ctx, spec)
}

func (e encryption) Signatures(ctx context.Context, device string) ([]luks.Signature, error) {
	return port(e.w, "luks: signatures", func() ([]luks.Signature, error) { return e.w.luks.Signatures(ctx, device) })
}

func (e encryption) Erase(ctx context.Context, device, uuid string, offset int64) error {
	return does(e.w, "act: erase", func() error {
		e.w.mustIntend(Format)
		return e.w.luks.Erase(ctx, device, uuid, offset)
	})
}

func (e encryption) DirectIO(ctx context.Context, mapper string) error {
	return does(e.w, "luks: direct", func() error { return e.w.luks.DirectIO(ctx, mapper) })
}

func (e encryption) HoldersOf(string) ([]string, error) {
	return port(e.w, "luks: holders", func() ([]string, error) { return nil, nil })
}

// devices implements Devices.
type devices struct{ w *world }

var _ Devices = devices{}

func (w *world) source(path string) *source {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sources[path]
}

func (d devices) Inspect(ctx context.Context, path string) (DeviceFacts, error) {
	return port(d.w, "device: inspect", func() (DeviceFacts, error) {
		facts := DeviceFacts{Path: path, Resolved: path, ID: path, LogicalBlock: 512, Writes: -1}
		if source := d.w.source(path); source != nil {
			facts.Block, facts.Size = source.block, int64(len(source.bytes))
			if source.block {
				facts.Writes, facts.Boot = source.writes, "this boot"
			} else {
				facts.ModTime = source.mod
			}
			return facts, nil
		}
		if file, there := d.w.file(path); there {
			facts.Size, facts.ID = file.size, "file 8:1 "+file.inode
			return facts, nil
		}
		if size, there := d.w.blanks[path]; there {
			facts.Block, facts.Size = true, size
			return facts, nil
		}
		lv, err := d.w.lvm.LVByPath(ctx, path)
		if err != nil || !d.w.active(lv.Path) {
			return facts, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		facts.Block, facts.Size, facts.ID = true, lv.Size, lv.UUID
		return facts, nil
	})
}

func (d devices) Chain(_ context.Context, path string, format image.Format) (image.Chain, error) {
	return port(d.w, "device: chain", func() (image.Chain, error) {
		if isImage(path) {
			if p := d.w.image(path); p != nil {
				return image.Chain{{Path: path, Format: format, Size: int64(len(p.live)), Cluster: 64 << 10}}, nil
			}
			return nil, &image.Error{Path: path, Reason: "can't be opened", Err: fs.ErrNotExist}
		}
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		if chain, known := d.w.chains[path]; known && chain[0].Format == format {
			return chain, nil
		}
		return nil, &image.Error{Path: path, Reason: "is no " + string(format) + " image"}
	})
}

func (d devices) CheckImage(_ context.Context, chain image.Chain) error {
	return does(d.w, "device: check image", func() error {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		return d.w.damaged[chain[0].Path]
	})
}

func (d devices) NVRAMs(context.Context) ([]string, error) { return nil, nil }

func (d devices) MapperNames(ctx context.Context) ([]string, error) {
	return port(d.w, "device: mapper names", func() ([]string, error) {
		var names []string
		mappings, err := d.w.luks.Mappings(ctx)
		for _, mapping := range mappings {
			names = append(names, mapping.Name)
		}
		lvs, _ := d.w.lvm.LVs(ctx)
		for _, lv := range lvs {
			names = append(names, filepath.Base(lv.DMPath))
		}
		return names, err
	})
}

func (d devices) Writers(_ context.Context, path string) ([]Writer, error) {
	return port(d.w, "device: writers", func() ([]Writer, error) {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		return d.w.writers[path], nil
	})
}

func (d devices) Physical(_ context.Context, path string) ([]string, error) {
	return port(d.w, "device: physical", func() ([]string, error) {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		if under, known := d.w.devices[path]; known {
			return under, nil
		}
		return []string{"8:0"}, nil
	})
}

func (d devices) Names(_ context.Context, path string) (DeviceNames, error) {
	return port(d.w, "device: names", func() (DeviceNames, error) {
		if path == blankLink {
			path = blankName
		}
		return DeviceNames{Stable: path}, nil
	})
}

func (d devices) Exists(ctx context.Context, path string) (bool, error) {
	return port(d.w, "device: exists", func() (bool, error) {
		if strings.HasPrefix(path, d.w.files) {
			return Host{}.Exists(ctx, path)
		}
		return false, nil
	})
}
