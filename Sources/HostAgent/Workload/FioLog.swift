/// fio's I/O logs (fio 3.33, HOWTO, "Trace file format v2" and "v3").
enum FioLog {
    /// `FILE ACTION [OFFSET LENGTH]`; the action `wait` says after how many microseconds from the start the next one comes.
    static func version2(_ lines: inout LineReader) throws(AgentError) -> [Workload.Request] {
        var requests: [Workload.Request] = [], time: UInt64 = 0
        while let line = lines.next() {
            let words = line.split(separator: " ")
            if words.isEmpty { continue }
            guard words.count >= 2 else { throw lines.error("'FILE ACTION [OFFSET LENGTH]' expected, '\(line)' found") }
            if words[1] == "wait" {
                guard words.count >= 3 else { throw lines.error("'FILE wait TIME' expected, '\(line)' found") }
                time = try lines.integer(words[2], "time to wait")
            } else if let request = try request(words[1...], time: time, lines) {
                requests.append(request)
            }
        }
        return requests
    }

    /// `TIME FILE ACTION [OFFSET LENGTH]`; fio 3.33 writes the time in microseconds since the log began.
    static func version3(_ lines: inout LineReader) throws(AgentError) -> [Workload.Request] {
        var requests: [Workload.Request] = []
        while let line = lines.next() {
            let words = line.split(separator: " ")
            if words.isEmpty { continue }
            guard words.count >= 3 else { throw lines.error("'TIME FILE ACTION [OFFSET LENGTH]' expected, '\(line)' found") }
            let time = try lines.integer(words[0], "time", as: UInt64.self)
            if let request = try request(words[2...], time: time, lines) { requests.append(request) }
        }
        return requests
    }

    /// The request that an action stands for, nil for those on files.
    private static func request(
        _ words: ArraySlice<Substring>, time: UInt64, _ lines: LineReader
    ) throws(AgentError) -> Workload.Request? {
        let action = words[words.startIndex]
        switch action {
        case "read", "write":
            guard words.count == 3 else { throw lines.error("\(action): an offset and a length expected") }
            return Workload.Request(
                time: time, operation: action == "read" ? .read : .write,
                position: try lines.integer(words[words.startIndex + 1], "offset"),
                bytes: try lines.integer(words[words.startIndex + 2], "length"))
        case "sync", "datasync": return Workload.Request(time: time, operation: .flush)
        case "add", "open", "close", "trim": return nil
        default:
            throw lines.error("an action of fio (read, write, sync, datasync, trim, wait, add, open, close) expected, '\(action)' found")
        }
    }
}
