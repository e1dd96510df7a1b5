// Package journal keeps a job's durable record: what was about to be done, and
// what was done, so that after a kill or a power cut the job can be finished
// or undone.
//
// A job is a folder. In it, the file "journal" is an append-only list of
// records, one a line:
//
//	LENGTH CRC {"seq":1,"kind":"begin",...}
//
// LENGTH is the JSON's length in bytes and CRC its CRC-32C (Castagnoli, RFC
// 3720 B.4), each as eight hexadecimal digits; so the file can be read with a
// pager, and a record that was torn by a power cut is told apart from a whole
// one. Append returns only after the record, and at the file's birth the
// folder, has been flushed with fsync.
//
// A torn last record is one that Append never returned from: it is dropped. A
// record that is damaged with whole records after it was not torn by a crash,
// and the journal is refused with a *DamagedError, because what it no longer
// says can't be guessed.
//
// Locks are flock(2) locks on files of their own, so the kernel releases them
// when the process ends, however it ends, and there is no stale lock to clean
// up: a lock file that nobody holds is taken over.
package journal
