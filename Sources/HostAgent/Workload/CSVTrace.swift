/// Comma-separated traces with the columns time (seconds), op, size (bytes) and lbn (512-byte sectors), in any order, others ignored.
///
/// `op` is a SCSI operation code in hexadecimal (SBC-3: 28 READ(10), 2a WRITE(10), 35 SYNCHRONIZE CACHE and their longer forms) or a word.
enum CSVTrace {
    static func requests(_ lines: inout LineReader, header: Substring) throws(AgentError) -> [Workload.Request] {
        let names = header.split(separator: ",", omittingEmptySubsequences: false).map { $0.lowercased() }
        var columns: [Int] = []
        for name in ["time", "op", "size", "lbn"] {
            guard let column = names.firstIndex(of: name) else {
                throw lines.error("columns time, op, size and lbn expected, '\(header)' found")
            }
            columns.append(column)
        }
        var requests: [Workload.Request] = []
        var start: UInt64?
        while let line = lines.next() {
            if line.isEmpty { continue }
            let cells = line.split(separator: ",", omittingEmptySubsequences: false)
            guard cells.count == names.count else { throw lines.error("\(names.count) columns expected, \(cells.count) found") }
            guard let seconds = Double(cells[columns[0]]), seconds >= 0, seconds < 1e12 else {
                throw lines.error("time: seconds expected, '\(cells[columns[0]])' found")
            }
            let time = UInt64(seconds * 1e6), origin = start ?? time
            start = origin
            let operation = try operation(cells[columns[1]], lines)
            let sector: UInt64 = try lines.integer(cells[columns[3]], "lbn")
            let bytes: Int = try lines.integer(cells[columns[2]], "size")
            guard sector < 1 << 54 else { throw lines.error("lbn: a sector below \(1 << 54) expected, \(sector) found") }
            guard (0...(1 << 30)).contains(bytes) else { throw lines.error("size: at most \(1 << 30) bytes expected, \(bytes) found") }
            requests.append(operation == .flush
                ? .init(time: time &- min(origin, time), operation: .flush)
                : .init(time: time &- min(origin, time), operation: operation, position: sector * 512, bytes: bytes))
        }
        return requests
    }

    private static func operation(_ cell: Substring, _ lines: LineReader) throws(AgentError) -> Workload.Operation {
        switch cell.lowercased() {
        case "28", "88", "a8", "08", "read", "r": return .read
        case "2a", "8a", "aa", "0a", "write", "w": return .write
        case "35", "91", "flush", "sync", "f": return .flush
        default: throw lines.error("op: a SCSI code (28, 2a, 35, ...) or read, write, flush expected, '\(cell)' found")
        }
    }
}
