package migrate

// summary is what a finished job has to show, from what the journal recorded.
func (j *Job) summary() (*Summary, error) {
	summary := &Summary{Clone: j.Plan.Clone.Name, Adopted: j.Plan.Adopted != nil, Seconds: j.Now().Sub(j.began).Seconds()}
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		var note copyNote
		if _, err := j.noted(Copy, disk, &note); err != nil {
			return nil, err
		}
		summary.Disks = append(summary.Disks, DiskSummary{
			Target: disk.Target, Bytes: disk.Bytes(), Seconds: note.Seconds, Min: note.Min, Median: note.Median, Max: note.Max,
			Digest: note.Digest, Verified: j.Plan.Options.Verify, Mapper: disk.Mapper, Device: disk.Where(),
		})
	}
	return summary, nil
}
