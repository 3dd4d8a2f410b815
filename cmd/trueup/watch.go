package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// watchStatus shows the status again every second until q is pressed or ctx ends.
// Where there is no terminal, screens follow one another.
func watchStatus(ctx context.Context, m *schemas.Migration, out io.Writer) error {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		for {
			s, err := statusOrNothing(m)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, screen(s, time.Now(), 80, 1000))
			if !pause(ctx, statusEvery) {
				return nil
			}
		}
	}
	_, err := tea.NewProgram(watchModel{migration: m, width: 80, height: 24}, tea.WithContext(ctx), tea.WithOutput(f)).Run()
	if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, tea.ErrInterrupted) {
		return nil // it was told to stop
	}
	return err
}

func statusOrNothing(m *schemas.Migration) (*statusFile, error) {
	s, err := readStatus(m.DataDir)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, fmt.Errorf("status: nothing has run in %s yet: start it with \"trueup run -f %s\"", m.DataDir, m.Path)
	case s.Migration != m.Name:
		return nil, fmt.Errorf("status: data directory %s belongs to migration %q, not to %q: point dataDir elsewhere, or correct metadata.name in %s", m.DataDir, s.Migration, m.Name, m.Path)
	}
	return s, nil
}

// watchModel is the screen and what it shows.
type watchModel struct {
	migration     *schemas.Migration
	width, height int
	status        *statusFile // nil: not read yet
	err           error
	at            time.Time
}

// statusRead is what a reading of the status gave.
type statusRead struct {
	status *statusFile
	err    error
	at     time.Time
}

func (m watchModel) read() tea.Msg {
	s, err := statusOrNothing(m.migration)
	return statusRead{s, err, time.Now()}
}

// Init implements tea.Model.
func (m watchModel) Init() tea.Cmd { return m.read }

// Update implements tea.Model.
func (m watchModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		}
	case statusRead:
		m.status, m.err, m.at = msg.status, msg.err, msg.at
		return m, tea.Tick(statusEvery, func(time.Time) tea.Msg { return m.read() })
	}
	return m, nil
}

// View implements tea.Model.
func (m watchModel) View() tea.View {
	content := "reading …"
	switch {
	case m.err != nil:
		content = inert.Line(m.err.Error())
	case m.status != nil:
		content = screen(m.status, m.at, m.width, m.height-1) + "\n" + dim.on("q: leave")
	}
	v := tea.NewView(content)
	v.AltScreen = true
	v.WindowTitle = "trueup " + inert.Text(m.migration.Name)
	return v
}
