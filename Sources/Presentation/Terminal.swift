import Glibc

/// The user's terminal while a program has the whole screen: plain ANSI sequences (ECMA-48), no library.
///
/// It is as before when ``leave()`` has been called, and after signals that end the program.
public final class Terminal {
    /// A key that was pressed.
    public enum Key: Equatable, Sendable {
        case character(Character)
        case enter, backspace, clear, up, down, end
        /// The window has another size.
        case resize
        /// No key within the time.
        case timeout
    }

    private var bytes: [UInt8] = []

    /// Takes the screen; nil if standard input or output is no terminal.
    public init?() {
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1, tcgetattr(STDIN_FILENO, &TerminalState.before) == 0 else { return nil }
        var raw = TerminalState.before
        cfmakeraw(&raw)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw)
        TerminalState.isTaken = true
        write("\u{1b}[?1049h")
        for number in [SIGTERM, SIGHUP, SIGQUIT] {
            signal(number) { number in
                TerminalState.restore()
                signal(number, SIG_DFL)
                raise(number)
            }
        }
        // Without SA_RESTART, so that a read comes back.
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGWINCH, &action, nil)
    }

    /// Gives the terminal back as it was.
    public func leave() { TerminalState.restore() }

    /// Columns and rows.
    public var size: (width: Int, height: Int) {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, 24) }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Shows lines from the top; the cursor ends up behind the last.
    public func draw(_ lines: [String]) {
        write("\u{1b}[?25l\u{1b}[H" + lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n") + "\u{1b}[J\u{1b}[?25h")
    }

    /// Waits for the next key.
    /// - Parameter milliseconds: for so long at most; without end if nil.
    public func read(milliseconds: Int? = nil) -> Key {
        while true {
            if let milliseconds, bytes.isEmpty {
                var poller = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                switch poll(&poller, 1, Int32(clamping: max(milliseconds, 0))) {
                case 0: return .timeout
                case ..<0: return errno == EINTR ? .resize : .end
                default: break
                }
            }
            guard let byte = next() else { return errno == EINTR ? .resize : .end }
            switch byte {
            case 13, 10: return .enter
            case 8, 127: return .backspace
            case 21: return .clear
            // Ctrl-C and Ctrl-D
            case 3, 4: return .end
            case 27:
                guard next() == UInt8(ascii: "["), let final = next() else { continue }
                if final == UInt8(ascii: "A") { return .up }
                if final == UInt8(ascii: "B") { return .down }
            case 32..<127: return .character(Character(Unicode.Scalar(byte)))
            default: continue
            }
        }
    }

    private func next() -> UInt8? {
        if bytes.isEmpty {
            var buffer = [UInt8](repeating: 0, count: 256)
            errno = 0
            let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
            guard count > 0 else { return nil }
            bytes = Array(buffer[..<count])
        }
        return bytes.removeFirst()
    }

    private func write(_ text: String) { TerminalState.write(text) }
}

/// What a signal's handler needs.
private enum TerminalState {
    // Set before the handlers are installed; after that only the handlers and leave() use them.
    nonisolated(unsafe) static var before = termios()
    nonisolated(unsafe) static var isTaken = false

    static func restore() {
        guard isTaken else { return }
        isTaken = false
        write("\u{1b}[?25h\u{1b}[?1049l")
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
    }

    static func write(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(STDOUT_FILENO, bytes.baseAddress! + done, bytes.count - done)
                if count > 0 { done += count } else if errno != EINTR { return }
            }
        }
    }
}
