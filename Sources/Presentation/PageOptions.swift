import ArgumentParser

/// The options that all live views have.
public struct PageOptions: ParsableArguments {
    @Option(help: "Seconds from page to page.")
    public var interval = 1.0

    @Flag(help: "Print one page.")
    public var once = false

    @Option(help: "Print so many pages.")
    public var count: Int?

    @Flag(help: "Print a line of JSON for each page.")
    public var json = false

    public init() {}

    public func validate() throws {
        guard interval > 0, interval <= 3600 else {
            throw ValidationError("--interval: seconds above 0, at most 3600, expected, \(interval) found")
        }
        if let count, count < 1 { throw ValidationError("--count: at least 1 expected, \(count) found") }
        if once, count != nil { throw ValidationError("--once or --count expected, both found") }
    }

    /// Shows pages until there have been enough.
    public func show(_ page: some LivePage) throws {
        var view = LiveView(page, interval: interval, count: once ? 1 : count, json: json)
        try view.run()
    }
}
