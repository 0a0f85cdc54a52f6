import Tracing

/// What software did with the registers, and what it saw of them: by register of ``RegisterCatalogue/device``, elements of an array
/// together.
final class RegisterCoverage {
    private(set) var uses: [CoverageData.RegisterUse]
    /// By register: the place of its first element in `seen`.
    private let places: [Int]
    /// By element: the value that software saw or left last.
    private var seen: [UInt64?]

    init() {
        let entries = RegisterCatalogue.device.entries
        uses = Array(repeating: CoverageData.RegisterUse(), count: entries.count)
        var places: [Int] = [], count = 0
        for entry in entries {
            places.append(count)
            count += entry.register.count
        }
        self.places = places
        seen = Array(repeating: nil, count: count)
    }

    /// An access of software's has been made. Of those that met no register, or were refused, nothing is noted.
    func add(_ event: AccessEvent) {
        guard case .register(let number, let element, let byte) = event.target, event.status == .ok else { return }
        let start = Int(byte)
        accessed(
            Int(number), element: Int(element), bytes: start..<start + Int(event.size), isWrite: event.isWrite, old: event.old,
            new: event.new)
    }

    /// - Parameters:
    ///   - bytes: which bytes of the register the access was to.
    ///   - old: the register's value before it, and after it.
    private func accessed(_ register: Int, element: Int, bytes: Range<Int>, isWrite: Bool, old: UInt64, new: UInt64) {
        let ones: UInt64 = bytes.count >= 8 ? .max : 1 << UInt64(8 * bytes.count) - 1
        let mask: UInt64 = ones << UInt64(8 * bytes.lowerBound)
        if isWrite {
            uses[register].writes &+= 1
            uses[register].written |= mask
        } else {
            uses[register].reads &+= 1
            uses[register].read |= mask
        }
        let place = places[register] + element
        if let before = seen[place] { changed(register, before, old, mask) }
        changed(register, old, new, .max)
        // Of the other bytes it knows what was seen before, and what this access has changed.
        let known = (seen[place] ?? old) & ~mask | old & mask
        seen[place] = known ^ old ^ new
    }

    private func changed(_ register: Int, _ before: UInt64, _ after: UInt64, _ mask: UInt64) {
        uses[register].rose |= ~before & after & mask
        uses[register].fell |= before & ~after & mask
    }
}
