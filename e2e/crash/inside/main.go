//go:build linux && amd64

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	out := json.NewEncoder(os.Stdout)
	switch args[0] {
	case "setup":
		device := flags.String("device", "/dev/ubda", "the physical volume")
		vda := flags.String("vda", "", "what the VM has for its first disk instead of the volume")
		seed := flags.Uint64("seed", 1, "decides what is on the disks")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return setUp(*device, *vda, *seed)
	case "record":
		_, forward, backward, err := rehearse()
		if err != nil {
			return err
		}
		return out.Encode(map[string][]instant{"forward": forward, "backward": backward})
	}
	return fmt.Errorf("no such command: %q", args[0])
}
