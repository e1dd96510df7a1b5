package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FileName is the journal's name in a job's folder.
const FileName = "journal"

// Journal is an open journal. It is held by one goroutine at a time.
type Journal struct {
	path    string
	file    *os.File
	records []Record
	size    int64
	now     func() time.Time
	broken  error
}

// Create begins a journal in the new folder dir, whose parent exists, with a
// first record that holds plan. When it returns without an error, folder, file
// and record are on disk; a crash before that leaves no folder of that name. It
// returns a *WriteError when the disk does not take it.
func Create(dir string, plan any, now func() time.Time) (*Journal, error) {
	data, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("encode the plan: %w", err)
	}
	unborn := filepath.Join(filepath.Dir(dir), unbornPrefix+filepath.Base(dir))
	if err := os.RemoveAll(unborn); err != nil {
		return nil, &WriteError{Path: unborn, Err: err}
	}
	if err := os.Mkdir(unborn, 0o700); err != nil {
		return nil, &WriteError{Path: unborn, Err: err}
	}
	j, err := create(filepath.Join(unborn, FileName), data, now)
	if err == nil {
		if err = publish(unborn, dir); err != nil {
			_ = j.Close()
		}
	}
	if err != nil {
		_ = os.RemoveAll(unborn) // nothing has been done for this job yet
		return nil, err
	}
	j.path = filepath.Join(dir, FileName)
	return j, nil
}

func create(path string, data json.RawMessage, now func() time.Time) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &WriteError{Path: path, Err: err}
	}
	j := &Journal{path: path, file: file, now: now}
	if err := j.append(Record{Kind: Begin, Version: Version, Data: data}); err != nil {
		_ = file.Close()
		return nil, err
	}
	return j, nil
}

// publish gives a folder its name once all in it is on disk. The name must be
// free: rename(2) would replace an empty folder.
func publish(from, to string) error {
	if err := syncDir(from); err != nil {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return &WriteError{Path: to, Err: fs.ErrExist}
	}
	if err := os.Rename(from, to); err != nil {
		return &WriteError{Path: to, Err: err}
	}
	return syncDir(filepath.Dir(to))
}

// Open reads the journal in dir for going on with it, and cuts off a torn last
// record. It returns *DamagedError, *VersionError or *EmptyError for one that
// can't be gone on with, and fs.ErrNotExist where there is none.
func Open(dir string, now func() time.Time) (*Journal, error) {
	path := filepath.Join(dir, FileName)
	records, whole, err := read(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &WriteError{Path: path, Err: err}
	}
	j := &Journal{path: path, file: file, records: records, size: whole, now: now}
	info, err := file.Stat()
	if err == nil && info.Size() > whole {
		if err = file.Truncate(whole); err == nil {
			err = file.Sync()
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, &WriteError{Path: path, Err: err}
	}
	return j, nil
}

// Read returns the records of the journal in dir without changing anything,
// also while a job is running. Its errors are those of Open.
func Read(dir string) ([]Record, error) {
	records, _, err := read(filepath.Join(dir, FileName))
	return records, err
}

func read(path string) ([]Record, int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if _, statErr := os.Stat(filepath.Dir(path)); statErr == nil {
				return nil, 0, &EmptyError{Path: path}
			}
		}
		return nil, 0, fmt.Errorf("read the journal: %w", err)
	}
	records, whole, err := decode(path, data)
	if err != nil {
		return nil, 0, err
	}
	if len(records) == 0 {
		return nil, 0, &EmptyError{Path: path}
	}
	return records, whole, nil
}

// Records returns what has been recorded so far.
func (j *Journal) Records() []Record { return j.records }

// Append writes one record and returns when it is on disk. After an error,
// which is a *WriteError, the journal takes no further record: what stands on
// disk is no longer known for sure.
func (j *Journal) Append(kind Kind, step, disk string, data any) error {
	r := Record{Kind: kind, Step: step, Disk: disk}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("encode a journal record's data: %w", err)
		}
		r.Data = raw
	}
	return j.append(r)
}

func (j *Journal) append(r Record) error {
	if j.broken != nil {
		return j.broken
	}
	r.Seq = int64(len(j.records)) + 1
	r.Time = j.now().UTC()
	line, err := encode(r)
	if err != nil {
		return err
	}
	if _, err = j.file.Write(line); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = &WriteError{Path: j.path, Err: err}
		// Half a record may stand there. The next Open drops it too; taking
		// it away now keeps the file tidy if the disk still lets us.
		_ = j.file.Truncate(j.size)
		return j.broken
	}
	j.size += int64(len(line))
	j.records = append(j.records, r)
	return nil
}

// Close releases the file. The journal stays on disk.
func (j *Journal) Close() error { return j.file.Close() }

// Discard removes the job folder dir and everything in it, so that a crash in
// between leaves either the whole folder or one that List no longer shows. A
// folder that does not exist is no error.
func Discard(dir string) error {
	trash := filepath.Join(filepath.Dir(dir), trashPrefix+filepath.Base(dir))
	if err := os.Rename(dir, trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &WriteError{Path: dir, Err: err}
	}
	if err := os.RemoveAll(trash); err != nil {
		return &WriteError{Path: trash, Err: err}
	}
	return syncDir(filepath.Dir(dir))
}

// These mark folders whose creation or removal a crash may have cut short.
const (
	unbornPrefix = ".new-"
	trashPrefix  = ".removed-"
)

// Sweep removes what crashes in Create and Discard left below parent. alive
// says of a folder's name whether a process is still at work on it.
func Sweep(parent string, alive func(name string) bool) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("list the jobs: %w", err)
	}
	for _, entry := range entries {
		for _, prefix := range []string{unbornPrefix, trashPrefix} {
			name, found := strings.CutPrefix(entry.Name(), prefix)
			if !found || alive(name) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(parent, entry.Name())); err != nil {
				return &WriteError{Path: parent, Err: err}
			}
		}
	}
	return nil
}

// List returns the names of the job folders below parent, oldest name first,
// and leaves out those whose removal a crash cut short. A parent that does not exist
// holds none.
func List(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the jobs: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && entry.Name()[0] != '.' {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return &WriteError{Path: path, Err: err}
	}
	err = dir.Sync()
	if closeErr := dir.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return &WriteError{Path: path, Err: err}
	}
	return nil
}
