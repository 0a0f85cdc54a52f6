/// Where a process has physical pages: `/proc/PID/pagemap` the other way round.
package struct PhysicalAddresses {
    /// Pages that follow each other both in physical and in virtual addresses.
    package struct Run {
        /// Number of the first physical page.
        package var frame: UInt64
        package var pages: UInt64
        /// Virtual address of the first page.
        package var address: UInt64
    }

    /// By frame.
    private var runs: [Run] = []
    /// Pages that are looked at, at most: 32 GiB. Memory that is shared comes first.
    private static let limit = 8 << 20
    private static let chunk = 1 << 15

    package init() {}

    init(of process: ClientProcess, _ areas: [ClientArea]) {
        var left = Self.limit
        for area in areas.filter(\.isShared) + areas.filter({ !$0.isShared }) where area.isReadable {
            var address = area.start
            while address < area.end, left > 0 {
                let wanted = min(Int((area.end - address) / ClientProcess.pageSize), Self.chunk, left)
                let entries = process.pages(at: address, count: wanted)
                guard !entries.isEmpty else { break }
                for entry in entries {
                    if let frame = entry.frame { add(frame, address) }
                    address += ClientProcess.pageSize
                }
                left -= entries.count
            }
        }
        sort()
    }

    /// Adds a page; ``sort()`` comes after the last.
    package mutating func add(_ frame: UInt64, _ address: UInt64) {
        if let last = runs.last, last.frame + last.pages == frame, last.address + last.pages * ClientProcess.pageSize == address {
            runs[runs.count - 1].pages += 1
        } else {
            runs.append(Run(frame: frame, pages: 1, address: address))
        }
    }

    package mutating func sort() { runs.sort { $0.frame < $1.frame } }

    /// The run that has a physical page. A page that is mapped at several places is found at one of them.
    package func run(of frame: UInt64) -> Run? {
        var low = 0, high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].frame <= frame { low = middle + 1 } else { high = middle }
        }
        // Runs overlap where a page is mapped twice: the one before the last that begins early enough may be the longer one.
        for place in stride(from: low - 1, through: max(low - 4, 0), by: -1) where place >= 0 {
            if frame - runs[place].frame < runs[place].pages { return runs[place] }
        }
        return nil
    }
}
