import Glibc

/// What a live view shows: pages of lines that fit a window. It knows nothing of terminals.
public protocol LivePage {
    /// Takes the figures anew.
    mutating func refresh() throws
    /// The page for a window.
    /// - Parameters:
    ///   - width: columns; nil: as many as it takes.
    ///   - height: rows; nil: as many as it takes.
    ///   - style: how parts are set off.
    func lines(width: Int?, height: Int?, style: TextStyle) -> [String]
    /// The same for programs.
    var json: JSON { get }
    /// A key that isn't one of all views.
    mutating func press(_ key: Terminal.Key)
}

/// Parts of a page that are set off, where that can be seen.
public struct TextStyle: Sendable {
    /// Reverse video and bold: any terminal has them.
    private let marks: Bool
    private let colours: Bool

    public static let plain = TextStyle(marks: false, colours: false)
    /// Without colours if somebody asked for none (no-color.org).
    public static var terminal: TextStyle { TextStyle(marks: true, colours: getenv("NO_COLOR") == nil) }

    public func title(_ text: String) -> String { marks ? "\u{1b}[7m\(text)\u{1b}[0m" : text }
    public func bold(_ text: String) -> String { marks ? "\u{1b}[1m\(text)\u{1b}[0m" : text }
    public func warning(_ text: String) -> String { colours ? "\u{1b}[31m\(text)\u{1b}[0m" : text }
    public func quiet(_ text: String) -> String { colours ? "\u{1b}[2m\(text)\u{1b}[0m" : text }
}

/// Shows a page again and again: in place on a terminal, one below the other elsewhere.
public struct LiveView<Page: LivePage> {
    private var page: Page
    private let interval: Double
    private let count: Int?
    private let json: Bool

    /// - Parameters:
    ///   - interval: seconds from page to page.
    ///   - count: pages to show; nil: until the reader has had enough.
    ///   - json: a line of JSON for each page, instead of text.
    public init(_ page: Page, interval: Double, count: Int?, json: Bool) {
        self.page = page; self.interval = interval; self.count = count; self.json = json
    }

    /// Shows pages until `count` is reached, or `q`, Ctrl-C or the end of input on a terminal.
    public mutating func run() throws {
        if !json, count == nil, let terminal = Terminal() {
            defer { terminal.leave() }
            return try run(on: terminal)
        }
        var left = count ?? .max
        while left > 0 {
            try page.refresh()
            print(json ? page.json.text : page.lines(width: nil, height: nil, style: .plain).joined(separator: "\n"))
            left -= 1
            if left > 0, !json { print("") }
            fflush(nil)
            if left > 0 { usleep(UInt32(interval * 1e6)) }
        }
    }

    private mutating func run(on terminal: Terminal) throws {
        let style = TextStyle.terminal, milliseconds = max(Int(interval * 1000), 1)
        while true {
            try page.refresh()
            let end = Self.now() + milliseconds
            // Keys and resizing redraw what there is; the figures move at the interval.
            while true {
                let (width, height) = terminal.size
                terminal.draw(Array(page.lines(width: width, height: height, style: style).prefix(height)))
                let key = terminal.read(milliseconds: max(end - Self.now(), 0))
                if key == .timeout { break }
                if key == .end || key == .character("q") { return }
                page.press(key)
            }
        }
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
