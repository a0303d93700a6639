package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// operation is one request of a worker; n counts that worker's requests from 0.
type operation func(ctx context.Context, worker, n int) error

// result is what one measurement found.
type result struct {
	perSecond     float64
	median, worst time.Duration // worst: 99 of 100 requests were faster
	count         int
	servers       time.Duration // processor time of all servers for one request
	client        time.Duration // and of the client, which shares the machine
}

// String is for people who wait.
func (r result) String() string {
	return fmt.Sprintf("%8.0f/s, median %s, 99%% %s, processor: servers %s, client %s", r.perSecond,
		r.median.Round(10*time.Microsecond), r.worst.Round(10*time.Microsecond),
		r.servers.Round(time.Microsecond), r.client.Round(time.Microsecond))
}

// load runs an operation with so many workers, each one request after another. Each has made a request,
// and so its connection, before counting begins. Any error ends the measurement: failed requests are fast,
// and would flatter.
func load(ctx context.Context, workers int, duration time.Duration, do operation) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*duration+time.Minute)
	defer cancel()
	times, failures := make([][]time.Duration, workers), make([]error, workers)
	each := func(work func(w int) error) {
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				if failures[w] = work(w); failures[w] != nil {
					cancel()
				}
			})
		}
		group.Wait()
	}
	each(func(w int) error { return do(ctx, w, 0) })
	if err := first(failures); err != nil {
		return result{}, err
	}
	end := time.Now().Add(duration)
	each(func(w int) error {
		for n := 1; ; n++ {
			sent := time.Now()
			err := do(ctx, w, n)
			done := time.Now()
			if err != nil || done.After(end) {
				return err
			}
			times[w] = append(times[w], done.Sub(sent))
		}
	})
	all := slices.Concat(times...)
	if err := first(failures); err != nil {
		return result{}, err
	}
	if len(all) == 0 {
		return result{}, errors.New("not one request was answered in time: measure for longer with -duration")
	}
	slices.Sort(all)
	return result{
		count:     len(all),
		perSecond: float64(len(all)) / duration.Seconds(),
		median:    all[len(all)/2],
		worst:     all[len(all)*99/100],
	}, nil
}

// first is the first failure that is not only the consequence of another one.
func first(failures []error) error {
	for _, err := range failures {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(failures...)
}
