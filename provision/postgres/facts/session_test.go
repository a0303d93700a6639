package facts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgctl/pgctl"
)

// session is a client's connection.
type session struct {
	*server
	conn *pgconn.PgConn

	guard   sync.Mutex
	notices []string
}

// dial connects; more is added to the connection string.
func (s *server) dial(more string) (*session, error) {
	c := &session{server: s}
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=5432 user=postgres dbname=postgres sslmode=disable "+
		"connect_timeout=30 %s", s.socket(), more))
	if err != nil {
		return nil, err
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		c.guard.Lock()
		defer c.guard.Unlock()
		c.notices = append(c.notices, n.Message)
	}
	c.conn, err = pgconn.ConnectConfig(s.Context(), config)
	if err != nil {
		return nil, err
	}
	s.Cleanup(func() { _ = c.conn.Conn().Close() })
	return c, nil
}

// connect is a new session; it must succeed.
func (s *server) connect(more string) *session {
	s.Helper()
	c, err := s.dial(more)
	s.must(err)
	return c
}

// said are the notices and warnings that the session got.
func (c *session) said() string {
	c.guard.Lock()
	defer c.guard.Unlock()
	return strings.Join(c.notices, "\n")
}

// exec runs SQL by the simple protocol. It returns the first column of the first row, and the last
// statement's command tag.
func (c *session) exec(ctx context.Context, sql string) (answer, tag string, err error) {
	found, err := c.conn.Exec(ctx, sql).ReadAll()
	for _, r := range found {
		tag = r.CommandTag.String()
		if len(r.Rows) > 0 && len(r.Rows[0]) > 0 {
			answer = string(r.Rows[0][0])
		}
	}
	return answer, tag, err
}

// sql runs a statement that must succeed.
func (c *session) sql(sql string) string {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, _, err := c.exec(ctx, sql)
	if err != nil {
		c.Fatalf("%s at %s: %v", sql, c.name, err)
	}
	return answer
}

// call is a statement under way.
type call struct {
	*session
	sqlText string
	done    chan struct{}
	tag     string
	err     error
}

// begin runs a statement beside the test.
func (c *session) begin(sql string) *call {
	return c.beside(sql, func() (string, error) {
		_, tag, err := c.exec(context.Background(), sql)
		return tag, err
	})
}

// beginExtended is begin by the extended protocol, which drivers use.
func (c *session) beginExtended(sql string) *call {
	return c.beside(sql, func() (string, error) {
		r := c.conn.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
		return r.CommandTag.String(), r.Err
	})
}

func (c *session) beside(sql string, work func() (string, error)) *call {
	w := &call{session: c, sqlText: sql, done: make(chan struct{})}
	go func() {
		w.tag, w.err = work()
		close(w.done)
	}()
	return w
}

// over says whether the statement has ended, in whatever way.
func (w *call) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// waits sees the session wait for standbys, and go on waiting for a while.
func (w *call) waits() {
	w.Helper()
	w.waitsOn("SyncRep")
	w.stays(w.sqlText+" waits for standbys", func() bool { return !w.over() })
}

// waitsOn sees the statement wait for something, as pg_stat_activity shows it.
func (w *call) waitsOn(event string) {
	w.Helper()
	w.until(w.sqlText+" waits on "+event, func() bool {
		if w.over() {
			w.Fatalf("%s did not wait: %q, %v", w.sqlText, w.tag, w.err)
		}
		return w.server.ask(fmt.Sprint("select wait_event from pg_stat_activity where pid = ", w.conn.PID())) == event
	})
}

// result waits for the statement's end.
func (w *call) result() (tag string, err error) {
	w.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		w.Fatalf("%s at %s never returned", w.sqlText, w.name)
	}
	return w.tag, w.err
}

// returns waits for the statement's success.
func (w *call) returns() string {
	w.Helper()
	tag, err := w.result()
	if err != nil {
		w.Fatalf("%s at %s: %v", w.sqlText, w.name, err)
	}
	return tag
}

// commit inserts a number as a client would, beside the test.
func (s *server) commit(x int) *call {
	s.Helper()
	return s.connect("").begin(fmt.Sprintf("insert into t values (%d)", x))
}

// try answers a query in a session that waits for no standby and is opened anew when it was lost.
func (s *server) try(query string) (string, error) {
	if s.own == nil || s.own.conn.IsClosed() {
		own, err := s.dial("options='-c synchronous_commit=local'")
		if err != nil {
			return "", err
		}
		s.own = own
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, _, err := s.own.exec(ctx, query)
	return answer, err
}

// ask is the first column of a query's first row; NULL is empty.
func (s *server) ask(query string) string {
	s.Helper()
	answer, err := s.try(query)
	if err != nil && s.own != nil && s.own.conn.IsClosed() { // by a crash of another process
		answer, err = s.try(query)
	}
	if err != nil {
		s.Fatalf("%s at %s: %v", query, s.name, err)
	}
	return answer
}

// fresh answers a query in a session of its own.
func (s *server) fresh(query string) string {
	s.Helper()
	c := s.connect("options='-c synchronous_commit=local'")
	defer c.conn.Close(context.Background())
	return c.sql(query)
}

// is polls a query until its answer is the one given.
func (s *server) is(query, want string) {
	s.Helper()
	s.until(fmt.Sprintf("%s at %s gives %q", query, s.name, want), func() bool {
		got, err := s.try(query)
		return err == nil && got == want
	})
}

// insert writes rows without waiting for standbys and returns the end of WAL behind them.
func (s *server) insert(from, to int) pgctl.LSN {
	s.Helper()
	s.ask(fmt.Sprintf("insert into t select generate_series(%d, %d)", from, to))
	return s.end()
}

// row counts how often a number is in the table.
func (s *server) row(x int) string {
	s.Helper()
	return s.ask(fmt.Sprint("select count(*) from t where x = ", x))
}

// position reads a query's answer as a place in the WAL; NULL is 0.
func (s *server) position(query string) pgctl.LSN {
	s.Helper()
	answer := s.ask(query)
	if answer == "" {
		return 0
	}
	lsn, err := pgctl.ParseLSN(answer)
	s.must(err)
	return lsn
}

// end is where a primary's flushed WAL ends.
func (s *server) end() pgctl.LSN { s.Helper(); return s.position("select pg_current_wal_flush_lsn()") }

// replayed is how far a standby has applied WAL.
func (s *server) replayed() pgctl.LSN {
	s.Helper()
	return s.position("select pg_last_wal_replay_lsn()")
}

// received is how far a standby says that it has flushed WAL.
func (s *server) received() pgctl.LSN {
	s.Helper()
	return s.position("select pg_last_wal_receive_lsn()")
}

// reaches waits until a standby has replayed a position.
func (s *server) reaches(lsn pgctl.LSN) {
	s.Helper()
	s.until(fmt.Sprintf("%s replays %s", s.name, lsn), func() bool { return s.replayed() >= lsn })
}

// streams waits until a standby is seen streaming by its upstream.
func (s *server) streams(b *server) {
	s.Helper()
	s.is("select state from pg_stat_replication where application_name = '"+b.name+"'", "streaming")
}

// follow points a standby at an upstream, under its own name.
func (s *server) follow(upstream *server) {
	s.Helper()
	s.set("primary_conninfo", upstream.conninfo(s.name))
}

// detach cuts a standby off from its upstream and sees the receiver gone.
func (s *server) detach() {
	s.Helper()
	s.set("primary_conninfo", "''")
	s.until("the receiver of "+s.name+" is gone", func() bool { return s.find("walreceiver") == 0 })
}

// code is the SQLSTATE of an error, empty when it is none of PostgreSQL's.
func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// detail is the detail of an error of PostgreSQL's.
func detail(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Detail
	}
	return ""
}
