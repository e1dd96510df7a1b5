package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

// laterJob is a job that is no migration: a cutover or a retirement.
type laterJob struct {
	migrate.JobInfo
	exchange *succession.Exchange
	retire   *succession.Retirement
	isRetire bool
}

func (j *laterJob) vm() string {
	switch {
	case j.exchange != nil:
		return j.exchange.VM()
	case j.retire != nil:
		return j.retire.Original
	}
	return ""
}

// laterJobs are all of them, with those that a name means marked.
func (s *session) laterJobs(c *cli.Context, name string) (jobs []laterJob, meant []bool, err error) {
	exchanges, err := succession.Jobs(s.store(c))
	if err != nil {
		return nil, nil, err
	}
	for _, job := range exchanges {
		jobs = append(jobs, laterJob{JobInfo: job.JobInfo, exchange: job.Exchange})
		meant = append(meant, job.Unfinished() && (name == "" || job.Named(name)))
	}
	retirements, err := succession.RetireJobs(s.store(c))
	if err != nil {
		return nil, nil, err
	}
	for _, job := range retirements {
		jobs = append(jobs, laterJob{JobInfo: job.JobInfo, retire: job.Retirement, isRetire: true})
		meant = append(meant, job.Unfinished() && (name == "" || job.Named(name)))
	}
	return jobs, meant, nil
}

// laterNamed finds the cutover or retirement that a name means, or nil when it
// means a migration or nothing: those that are done are meant by their id alone.
// Where several may be meant the error is a *migrate.AmbiguousJobError.
func (s *session) laterNamed(c *cli.Context, name string, want func(migrate.JobInfo) bool) (*laterJob, error) {
	jobs, meant, err := s.laterJobs(c, name)
	if err != nil {
		return nil, err
	}
	var fit []migrate.JobInfo
	var found *laterJob
	for i := range jobs {
		if name != "" && jobs[i].ID == name {
			return &jobs[i], jobs[i].Err
		}
		if meant[i] {
			fit, found = append(fit, jobs[i].JobInfo), &jobs[i]
		}
	}
	if found == nil {
		return nil, nil
	}
	other, err := s.store(c).Find(name, want)
	var several *migrate.AmbiguousJobError
	switch {
	case err == nil && want(other):
		fit = append(fit, other)
	case errors.As(err, &several):
		fit = append(fit, several.Jobs...)
	}
	if len(fit) > 1 {
		return nil, &migrate.AmbiguousJobError{Name: name, Jobs: fit}
	}
	return found, nil
}

// resumeLater goes on with a cutover or a retirement. No key is needed: that was
// proved before it began.
func (s *session) resumeLater(c *cli.Context, job *laterJob) error {
	reporter := s.reporter()
	env, closeHost, err := s.successionWith(c.Context, c, reporter, nil)
	if err != nil {
		return err
	}
	defer closeHost()
	if job.isRetire {
		return s.resumeRetire(c, env, reporter, &succession.RetireJob{JobInfo: job.JobInfo, Retirement: job.retire})
	}
	outcome, err := env.Resume(c.Context, job.ID)
	return s.cutOver(reporter, job.vm(), outcome, err)
}

// rollbackLater takes a half-done cutover back, or a retirement that has not wiped
// anything yet.
func (s *session) rollbackLater(c *cli.Context, job *laterJob) error {
	reporter := s.reporter()
	env, closeHost, err := s.successionWith(c.Context, c, reporter, nil)
	if err != nil {
		return err
	}
	defer closeHost()
	if job.isRetire {
		err = env.RollbackRetire(c.Context, job.ID)
	} else {
		err = env.Rollback(c.Context, job.ID)
	}
	if err != nil {
		return s.successionFailed(reporter, job.vm(), err)
	}
	reporter.end()
	return nil
}
