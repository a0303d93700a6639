package raftstore

import (
	"strconv"
	"unicode/utf8"

	"github.com/pgctl/pgctl"
)

const (
	maxSettingKey   = 128
	maxSettingValue = 64 << 10
)

// Setting is one entry of the operator's configuration of the whole installation.
type Setting struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Revision uint64 `json:"revision"` // the store index of the last change
}

var settingsTable = newTable("settings", func(s *Setting) string { return s.Key })

// PutSetting sets an entry of the operator's configuration; an empty value is one too.
type PutSetting struct {
	Key    string  `json:"key"`
	Value  string  `json:"value"`
	Expect *uint64 `json:"expect,omitempty"` // revision; 0: must not exist; nil: any
}

func (PutSetting) kind() string { return "setting.put" }

func (c PutSetting) check() error {
	if err := checkName("key", c.Key, maxSettingKey); err != nil {
		return err
	}
	if len(c.Value) > maxSettingValue || !utf8.ValidString(c.Value) {
		return pgctl.Errorf(pgctl.CodeInvalid, "a setting is text of at most %d bytes; this has %d", maxSettingValue,
			len(c.Value)).At(c.Key)
	}
	if c.Key == settingPortFirst || c.Key == settingPortLast {
		if port, err := strconv.Atoi(c.Value); err != nil || port < 1024 || port > 65535 {
			return pgctl.Errorf(pgctl.CodeInvalid, "%.20q is not a port from 1024 to 65535", c.Value).At(c.Key)
		}
	}
	return nil
}

func (c PutSetting) apply(t *tx) error {
	revision := uint64(0)
	if old := find[Setting](t, settingsTable, c.Key); old != nil {
		revision = old.Revision
	}
	if err := expectRevision("setting "+c.Key, c.Expect, revision); err != nil {
		return err
	}
	t.put(settingsTable, &Setting{Key: c.Key, Value: c.Value, Revision: t.index})
	t.touch(SettingsTopic)
	return nil
}
