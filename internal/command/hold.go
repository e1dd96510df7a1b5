package command

import (
	"context"
	"os"
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
