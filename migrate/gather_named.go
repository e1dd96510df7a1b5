package migrate

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/luks"
)

// GatherNamed looks at the devices that options name, and tries an encryption
// that is not the default; it changes nothing.
func (e *Env) GatherNamed(ctx context.Context, facts *Facts, options Options) error {
	if err := e.gatherEncryption(ctx, facts, options.LUKS); err != nil {
		return err
	}
	for _, path := range options.PVs {
		if err := e.gatherNamed(ctx, facts, path, false); err != nil {
			return err
		}
	}
	for _, path := range options.devices() {
		if err := e.gatherNamed(ctx, facts, path, true); err != nil {
			return err
		}
	}
	var folders []string
	if options.Dir != "" {
		folders = append(folders, options.Dir)
	}
	for _, file := range options.headers() {
		folders = append(folders, filepath.Dir(file))
	}
	for _, dir := range folders {
		if err := e.gatherFolder(ctx, facts, dir); err != nil {
			return err
		}
	}
	return e.gatherLayout(ctx, facts, options)
}

// gatherEncryption tries an encryption. That it can't be tried is no reason
// against it.
func (e *Env) gatherEncryption(ctx context.Context, facts *Facts, chosen LUKSOptions) error {
	usual := DefaultLUKS()
	if _, known := facts.Untaken[chosen]; known || chosen.Cipher == usual.Cipher && chosen.KeySize == usual.KeySize && chosen.Hash == usual.Hash {
		return nil // the rest is cryptsetup's own, and Options.Validate knows it
	}
	err := e.Encryption.Try(ctx, chosen.spec())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if facts.Untaken == nil {
		facts.Untaken = make(map[LUKSOptions]string)
	}
	facts.Untaken[chosen] = ""
	if refused := (*luks.RefusedError)(nil); errors.As(err, &refused) {
		facts.Untaken[chosen] = refused.Reason
	}
	return nil
}

// gatherFolder looks at a folder in which files are to be made.
func (e *Env) gatherFolder(ctx context.Context, facts *Facts, dir string) error {
	folder, err := within(ctx, "look at "+dir, func() (FolderFacts, error) { return e.Files.Folder(ctx, dir) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	folder.Err = err
	if facts.Folders == nil {
		facts.Folders = make(map[string]FolderFacts)
	}
	facts.Folders[dir] = folder
	return nil
}

// gatherNamed looks at one device, closely if it is to be overwritten.
func (e *Env) gatherNamed(ctx context.Context, facts *Facts, path string, closely bool) error {
	named, err := within(ctx, "look at "+path, func() (NamedFacts, error) {
		var named NamedFacts
		var err error
		if named.DeviceFacts, err = e.Devices.Inspect(ctx, path); err != nil || !closely || !named.Block {
			return named, err
		}
		if named.Names, err = e.Devices.Names(ctx, path); err != nil {
			return named, err
		}
		if named.Signatures, err = e.Encryption.Signatures(ctx, path); err != nil {
			return named, err
		}
		named.Holders, err = e.Encryption.HoldersOf(path)
		return named, err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	named.Err = err
	if facts.Named == nil {
		facts.Named = make(map[string]NamedFacts)
	}
	facts.Named[path] = named
	return nil
}
