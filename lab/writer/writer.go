// Package writer is an application that writes rows steadily through failovers, and remembers which of
// them Postgres acknowledged, which server did, and when, so that a loss shows, and two servers that
// write side by side. The demo and the fault scenarios use it.
package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Config says where and how to write.
type Config struct {
	// DSN names all instances, with target_session_attrs=read-write: the driver finds the leader.
	DSN         string
	Connections int           // that write at the same time; at least one
	Interval    time.Duration // between two rows of one connection

	Dial           pgconn.DialFunc // how to reach a host; nil: as everybody does
	ConnectTimeout time.Duration   // for one host of the list; 0: 2 s
	WriteTimeout   time.Duration   // then the outcome is unknown, and the connection given up; 0: 5 s
	// Journal gets a line for each acknowledgement, if it is set: when it came and when the row was sent
	// (CLOCK_MONOTONIC, nanoseconds), the row, the server's address, and its timeline.
	Journal io.Writer
}

const (
	table          = "pgctl_writer"
	connectTimeout = 2 * time.Second
	writeTimeout   = 5 * time.Second
	retryEvery     = 50 * time.Millisecond // handshakes that fail take the processor from whoever ends the pause
	// The server's timeline, as eight hexadecimal digits.
	timeline = "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
)

// Report is what happened until now.
type Report struct {
	Acknowledged int
	Unknown      int           // rows whose commit failed or broke off: they may be there or not
	LongestGap   time.Duration // without any acknowledged row, since the first one
	GapBegan     time.Time     // when that was; zero: never
	SinceLast    time.Duration // since the last acknowledged row
	// TwoWriters names servers that acknowledged at overlapping times; empty, unless something is badly
	// wrong.
	TwoWriters []string
}

// Writer writes until Stop.
type Writer struct {
	config Config
	stop   context.CancelFunc
	tasks  sync.WaitGroup
	nextID atomic.Int64
	seek   chan struct{} // held by the connection that looks for the leader: as in a pool, the others wait for it

	mu           sync.Mutex
	acknowledged []int64
	unknown      int
	last         time.Time // of the last acknowledgement; zero: none
	longest      time.Duration
	gapBegan     time.Time
	tenures      map[string]*tenure // by timeline
	failure      error              // the last one
	journal      error
}

// Start creates the table, trying until ctx ends, and begins to write.
func Start(ctx context.Context, config Config) (*Writer, error) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.WriteTimeout == 0 {
		config.WriteTimeout = writeTimeout
	}
	w := &Writer{config: config, tenures: map[string]*tenure{}, seek: make(chan struct{}, 1)}
	if err := w.prepare(ctx); err != nil {
		return nil, err
	}
	// The writing is not bound to ctx: that may be the deadline of the beginning only.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = cancel
	for range max(config.Connections, 1) {
		w.tasks.Go(func() { w.run(running) })
	}
	return w, nil
}

func (w *Writer) prepare(ctx context.Context) error {
	for {
		err := w.once(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (id bigint PRIMARY KEY, at timestamptz DEFAULT now())")
			if err != nil {
				return err
			}
			var first int64
			if err := conn.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM "+table).Scan(&first); err != nil {
				return err
			}
			w.nextID.Store(first)
			return nil
		})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the writer cannot begin: %w", err)
		case <-time.After(retryEvery):
		}
	}
}

// connect opens a connection. Warned turns true when a commit came with a warning: PostgreSQL gives one
// when it did not wait for the standbys.
func (w *Writer) connect(ctx context.Context, warned *bool) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(w.config.DSN)
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = w.config.ConnectTimeout
	if w.config.Dial != nil {
		config.DialFunc = w.config.Dial
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			*warned = true
		}
	}
	return pgx.ConnectConfig(ctx, config)
}

func (w *Writer) once(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := w.connect(ctx, new(bool))
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(context.WithoutCancel(ctx)))
}

// run connects again and again, and writes while that works.
func (w *Writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		warned := false
		conn, err := w.reconnect(ctx, &warned)
		if err == nil {
			err = w.write(ctx, conn, &warned)
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.Close(closing) // it is broken, or we end
			cancel()
		}
		if ctx.Err() == nil {
			w.mu.Lock()
			w.failure = err
			w.mu.Unlock()
		}
	}
}

// reconnect opens a connection, one at a time.
func (w *Writer) reconnect(ctx context.Context, warned *bool) (*pgx.Conn, error) {
	select {
	case w.seek <- struct{}{}:
		defer func() { <-w.seek }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := w.connect(ctx, warned)
	if err != nil {
		pause(ctx, retryEvery)
	}
	return conn, err
}

func (w *Writer) write(ctx context.Context, conn *pgx.Conn, warned *bool) error {
	for ctx.Err() == nil {
		// A row that failed is never tried again under its number: it may be there.
		id := w.nextID.Add(1)
		*warned = false
		// Not bound to ctx: Stop waits for the answer, so that no outcome is unknown because of it.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.config.WriteTimeout)
		a := ack{id: id, sent: monotonic(), server: conn.PgConn().Conn().RemoteAddr().String()}
		err := conn.QueryRow(limited, "INSERT INTO "+table+" (id) VALUES ($1) RETURNING "+timeline, id).Scan(&a.timeline)
		cancel()
		w.note(a, err == nil && !*warned)
		if err != nil {
			return err
		}
		pause(ctx, w.config.Interval)
	}
	return nil
}

func (w *Writer) note(a ack, acknowledged bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !acknowledged {
		w.unknown++
		return
	}
	now := time.Now()
	if !w.last.IsZero() && now.Sub(w.last) > w.longest {
		w.longest, w.gapBegan = now.Sub(w.last), w.last
	}
	w.last = now
	w.acknowledged = append(w.acknowledged, a.id)
	a.got = monotonic()
	w.remember(a)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Report says what happened until now. A gap that has not ended counts too.
func (w *Writer) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Report{Acknowledged: len(w.acknowledged), Unknown: w.unknown, LongestGap: w.longest, GapBegan: w.gapBegan}
	if !w.last.IsZero() {
		r.SinceLast = time.Since(w.last)
		if r.SinceLast > r.LongestGap {
			r.LongestGap, r.GapBegan = r.SinceLast, w.last
		}
	}
	r.TwoWriters = w.overlaps()
	return r
}

// Failure is the last error that a connection met, or why the journal is not complete; nil if there was
// none.
func (w *Writer) Failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.failure, w.journal)
}

// Stop ends the writing, waits for the rows under way, and says what happened.
func (w *Writer) Stop() Report {
	w.stop()
	w.tasks.Wait()
	r := w.Report()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.LongestGap, r.GapBegan = w.longest, w.gapBegan
	return r
}

// Missing reads the table on the leader and returns the acknowledged rows that are not there: none,
// unless something is badly wrong.
func (w *Writer) Missing(ctx context.Context) ([]int64, error) {
	there := map[int64]bool{}
	err := w.once(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT id FROM "+table)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		for _, id := range ids {
			there[id] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var missing []int64
	for _, id := range w.acknowledged {
		if !there[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}
