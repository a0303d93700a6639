package hosts

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// frameTo is an Ethernet frame with an IPv4 packet to a host of the lab.
func frameTo(h Host, number byte) []byte {
	frame := make([]byte, 60)
	binary.BigEndian.PutUint16(frame[etherType:], typeIPv4)
	to := h.Address.As4()
	copy(frame[ipTarget:], to[:])
	frame[59] = number
	return frame
}

func testLab(sites ...int) *Lab {
	return &Lab{Name: "test", Dir: "/nowhere", Layout: layout, Sites: sites}
}

func TestRouterAddressesTheNextHop(t *testing.T) {
	t.Parallel()
	l := testLab(2, 1)
	h := l.Hosts()[2]
	frame := frameTo(h, 1)
	if site := target(frame, len(l.sites())); site != 1 {
		t.Fatal(site)
	}
	if to, from := net.HardwareAddr(frame[:6]), net.HardwareAddr(frame[6:12]); to.String() != hardware(h.Address).String() ||
		from.String() != hardware(gateway(1)).String() {
		t.Error(to, from)
	}
	for what, frame := range map[string][]byte{
		"an address elsewhere":   frameTo(Host{Address: address(8, 0)}, 1),
		"half a frame":           frame[:20],
		"something else than IP": append(append(slices.Clone(frame[:12]), 0x08, 0x06), frame[14:]...),
	} {
		if site := target(frame, len(l.sites())); site != -1 {
			t.Errorf("%s goes to %d", what, site)
		}
	}
}

// testLine is a line whose packets end in a file.
func testLine(t *testing.T) (*line, func() []byte) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return &line{out: out, wake: make(chan struct{}, 1)}, func() []byte {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func TestPacketsComeLateInOrder(t *testing.T) {
	t.Parallel()
	l, arrived := testLine(t)
	l.take([]byte{0}) // without delay
	l.change(func(k *link) { k.delay, k.jitter = time.Hour, time.Hour })
	for n := range byte(100) {
		l.take([]byte{n + 1})
	}
	l.change(func(k *link) { *k = link{} })
	l.take([]byte{101}) // must not overtake those that wait
	if got := arrived(); len(got) != 1 {
		t.Fatalf("%d packets arrived before their time", len(got))
	}
	now := time.Now()
	if left := l.flush(now); left < 50*time.Minute || len(arrived()) != 1 {
		t.Fatal(left, arrived())
	}
	l.flush(now.Add(3 * time.Hour))
	got := arrived()
	if len(got) != 102 || !slices.IsSorted(got) {
		t.Fatal(got)
	}
}

func TestPacketsAreLost(t *testing.T) {
	t.Parallel()
	l, arrived := testLine(t)
	l.change(func(k *link) { k.loss = 30 })
	for range 10000 {
		l.take([]byte{1})
	}
	// Seven in ten arrive; what is allowed for is thirty times as much as chance explains.
	if n := len(arrived()); n < 5600 || n > 8400 {
		t.Errorf("%d of 10000 arrived", n)
	}
	before := len(arrived())
	l.change(func(k *link) { k.cut = true })
	l.take([]byte{1})
	if len(arrived()) != before {
		t.Error("a cut link delivers")
	}
}

func TestCommandsToTheRouter(t *testing.T) {
	t.Parallel()
	r := &router{sites: []string{"a", "b"}}
	for range r.sites {
		r.lines = append(r.lines, []*line{{}, {}})
	}
	for _, asked := range []request{
		{Do: "lose", Percent: 5}, {Do: "delay", From: "a", To: "b", Delay: time.Second}, {Do: "cut", From: "a", To: "b"},
	} {
		if err := r.obey(asked); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.lines[0][1].link; got != (link{delay: time.Second, loss: 5, cut: true}) {
		t.Errorf("%+v", got)
	}
	if got := r.lines[1][0].link; got != (link{loss: 5}) {
		t.Errorf("the way back: %+v", got)
	}
	for _, wrong := range []request{{Do: "cut", From: "a", To: "x"}, {Do: "cut", From: "a", To: "a"}, {Do: "dance"}} {
		if err := r.obey(wrong); err == nil {
			t.Errorf("%+v was done", wrong)
		}
	}
	if err := r.obey(request{Do: "reset"}); err != nil || r.lines[0][1].link != (link{}) {
		t.Errorf("%v %+v", err, r.lines[0][1].link)
	}
}

func TestHostsOfALab(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sites   []int
		hosts   string
		servers string
	}{
		{[]int{1}, "h1 a 10.77.1.11", "h1"},
		{[]int{2}, "h1 a 10.77.1.11, h2 a 10.77.1.12", "h1"},
		{[]int{2, 1}, "h1 a 10.77.1.11, h2 a 10.77.1.12, h3 b 10.77.2.11", "h1 h2 h3"},
		{[]int{1, 1, 2}, "h1 a 10.77.1.11, h2 b 10.77.2.11, h3 c 10.77.3.11, h4 c 10.77.3.12", "h1 h2 h3"},
		{[]int{2, 2, 1}, "", "h1 h3 h5"},
	} {
		l := testLab(c.sites...)
		var hosts, servers []string
		for _, h := range l.Hosts() {
			hosts = append(hosts, h.Name+" "+h.DataCenter+" "+h.Address.String())
			if h.Server {
				servers = append(servers, h.Name)
			}
		}
		if got := strings.Join(hosts, ", "); c.hosts != "" && got != c.hosts {
			t.Errorf("%v: %s", c.sites, got)
		}
		if got := strings.Join(servers, " "); got != c.servers {
			t.Errorf("%v: servers %s", c.sites, got)
		}
	}
}

func TestLabsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Name: "../etc", Sites: []int{1}},
		{Name: "much-too-long-a-name", Sites: []int{1}},
		{Name: "lab-test-x", Sites: []int{0}},
		{Name: "lab-test-x", Sites: []int{21}},
	} {
		if l, err := create(c); err == nil {
			t.Errorf("%+v: made %s", c, l.Dir)
		}
	}
	if _, err := Open("lab-test-x"); err == nil || !strings.Contains(err.Error(), "lab up") {
		t.Error(err)
	}
}
