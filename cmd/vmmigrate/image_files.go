package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/succession"
)

// imageFiles asks qemu-img for the other files of an image. The format is the
// definition's and never probed; -U looks at one that a running guest has too.
func imageFiles(ctx context.Context, runner command.Runner, path, format string) (succession.ImageFiles, error) {
	result, err := runner.Run(ctx, command.Cmd{
		Name: "qemu-img", Args: []string{"info", "-U", "--backing-chain", "--output=json", "-f", format, "--", path}, ReadOnly: true,
	})
	if err != nil {
		return succession.ImageFiles{}, err
	}
	return parseImageFiles(result.Stdout, path)
}

// parseImageFiles reads what qemu-img info says of a chain (QEMU,
// qapi/block-core.json, ImageInfo).
func parseImageFiles(text []byte, path string) (files succession.ImageFiles, err error) {
	var images []struct {
		Filename string `json:"filename"`
		Backing  string `json:"full-backing-filename"`
		Specific struct {
			Data struct {
				File    string `json:"data-file"` // qcow2
				Extents []struct {
					Filename string `json:"filename"`
				} `json:"extents"` // vmdk
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(text, &images); err != nil {
		return files, fmt.Errorf("qemu-img says of %s what is no JSON: %w", path, err)
	}
	for i, image := range images {
		data := []string{image.Specific.Data.File}
		for _, extent := range image.Specific.Data.Extents {
			data = append(data, extent.Filename)
		}
		into := &files.Behind
		if i == 0 {
			into = &files.Data
		}
		add := func(into *[]string, name string) {
			if name == "" || name == path {
				return
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(image.Filename), name)
			}
			if name != path && !slices.Contains(*into, name) {
				*into = append(*into, name)
			}
		}
		add(&files.Behind, image.Filename)
		for _, name := range data {
			add(into, name)
		}
		add(&files.Behind, image.Backing)
	}
	return files, nil
}
