package command

import (
	"context"
	"io"
	"os"
	"os/exec"
)

// holdKey is the key of Hold's file in a context.
type holdKey struct{}

// Hold returns a context in which every command that is not ReadOnly keeps file
// open for as long as it runs, even when this process is killed before it has
// ended. So a flock(2) lock on the file stays until nothing that was started
// under it is at work any more. A nil file ends what an outer Hold began.
func Hold(ctx context.Context, file *os.File) context.Context {
	return context.WithValue(ctx, holdKey{}, file)
}

// held is the file that cmd is to keep open, or nil.
func held(ctx context.Context, cmd Cmd) *os.File {
	file, _ := ctx.Value(holdKey{}).(*os.File)
	if cmd.ReadOnly {
		return nil
	}
	return file
}

// hold has c keep file open. lvm2 closes all that it inherits beyond standard
// error (tools/lvmcmdline.c, _close_stray_fds), so a program that is given no
// input has the file for its standard input, at the end of which there is nothing
// to be read.
func hold(c *exec.Cmd, cmd Cmd, file *os.File) {
	if len(cmd.Stdin) == 0 && !cmd.Terminal {
		if _, err := file.Seek(0, io.SeekEnd); err == nil {
			c.Stdin = file
			return
		}
	}
	c.ExtraFiles = append(c.ExtraFiles, file)
}
