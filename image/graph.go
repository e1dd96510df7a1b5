package image

import "encoding/json"

// graph is the chain as QEMU's block layer takes it (QEMU, qapi/block-core.json,
// BlockdevOptions): every node with its driver, every file by name, and null
// where nothing comes behind. Nothing is left for QEMU to look up or to guess.
func (c Chain) graph() string {
	text, _ := json.Marshal(c.node(true)) // maps of strings always can be
	return "json:" + string(text)
}

// alone is the graph of the disk's own image, without those behind it.
func (c Chain) alone() string {
	text, _ := json.Marshal(c[:1].node(false))
	return "json:" + string(text)
}

func (c Chain) node(whole bool) map[string]any {
	layer := c[0]
	node := map[string]any{"driver": string(layer.Format), "file": file(layer.Path, layer.Block)}
	switch layer.Format {
	case QCOW2:
		if len(layer.Data) > 0 {
			node["data-file"] = file(layer.Data[0].Path, layer.Data[0].Block)
		}
		node["backing"] = nil
		if whole && len(c) > 1 {
			node["backing"] = c[1:].node(true)
		}
	case VMDK:
		// QEMU opens extents by the descriptor alone: plain names in its own
		// folder, which Inspect has made sure of, and always as files.
	case Raw, VDI, VHDX:
	}
	return node
}

// file is the node of one file or device.
func file(path string, block bool) map[string]any {
	driver := "file"
	if block {
		driver = "host_device"
	}
	return map[string]any{"driver": driver, "filename": path}
}
