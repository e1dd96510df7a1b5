// Package crash proves on real LVM, dm-crypt and libvirtd that nothing is lost
// whenever a job is cut short, and whatever the host does to it meanwhile.
//
// Each test puts one fault to the vmmigrate that ships, and then asks for one
// of the two ends: resumed, every byte of the clone equals the source's, there
// is one clone, and nothing is there that a job without a fault would not have
// left; rolled back, the world is as it was before. The faults:
//
//	kill_test.go       kill -9 before and during everything that vmmigrate does
//	powercut_test.go   the host itself ends at a random instant
//	disk_test.go       disks that fail, lie, fill up or can't be written
//	daemon_test.go     libvirtd hangs or dies
//	people_test.go     people start VMs, remove volumes and write to sources
//	signal_test.go     an impatient operator
//
// Command inside does the work on the test host, so that an instant is hit
// exactly and a check costs no round trip. The seed is printed, and
// -crash.seed takes it again; -crash.fault tries one fault of the tables alone, and
// -crash.job those of one kind of jobs: the usual, one that makes a recovery key, or
// one whose disk stays an image on a file system, with its LUKS header in a file. Of
// the latter two the tables hold what the usual job does not do.
// -crash.share=4 tries a quarter of the tables, the seed decides which, and one of
// each kind of all else. At the end stands, for each kind, how many faults of
// how many were tried and how many survived, how many bytes were compared, the
// slowest fault and the time.
package crash
