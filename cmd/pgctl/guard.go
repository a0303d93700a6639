package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl/provision/guard"
)

// guardFile is where daemon and guard of a host meet.
func guardFile(config DaemonConfig) string { return filepath.Join(config.SocketDir, "guard") }

// guardCommand runs the guard in the foreground; systemd and pgctl dev start it.
func guardCommand() *cli.Command {
	return &cli.Command{
		Name:      "guard",
		Usage:     "run the guard of this host in the foreground",
		UsageText: "pgctl guard [--config FILE]",
		Description: "It kills an instance of a lease cluster when its lease is over, whatever state the daemon is in. It\n" +
			"reads the daemon's configuration, and can be restarted at any time: what it has to know is in a file\n" +
			"in socket_dir.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "config", Value: defaultDaemonConfigPath, Usage: "the daemon's configuration"}},
		Action: runGuard,
	}
}

func runGuard(c *cli.Context) error {
	config, err := LoadDaemonConfig(c.String("config"))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	name, end := []byte("guard: "), []byte{'\n'}
	log := func(line []byte) {
		_, _ = os.Stderr.Write(name) // nobody to tell
		_, _ = os.Stderr.Write(line)
		_, _ = os.Stderr.Write(end)
	}
	device := config.WatchdogDevice
	if config.Watchdog == guardOff {
		device = ""
	}
	g, err := guard.New(guard.Options{Path: guardFile(config), Boot: bootID(), Watchdog: guard.NewWatchdog(device), Log: log})
	if err != nil {
		return err
	}
	if err := guard.LockMemory(); err != nil {
		log([]byte("its memory is not locked: " + err.Error()))
	}
	return g.Run(ctx)
}
