import Interconnect
import Registers
import Simulation

/// SRAM whose 32-bit words are protected by an error-correcting code, and in which errors can be planted.
///
/// The code itself is not computed: a planted error is a mark on a word. A read of the word meets the error; a write of the whole word
/// removes it; a write of a part must first read the word, and meets it. Where nothing is planted, harts don't come this way.
public final class ECCMemory: BusTarget, MemoryErrorInjection, ArchivedModel {
    public struct State: Sendable {
        struct Planted: Sendable {
            var word: UInt64
            var isCorrectable: Bool
        }

        /// In the order of their words.
        var planted: [Planted] = []
    }

    public let memory: PlainMemory
    public var state = State()
    /// What the error logging hangs on: SYSCTL.
    public weak var sink: (any MemoryErrorSink)?

    public init(_ pages: MemoryPages) {
        memory = PlainMemory(pages, isReadOnly: false)
    }

    public var plantedErrors: Int { state.planted.count }

    public func access(_ access: inout BusAccess) -> BusStatus {
        if !state.planted.isEmpty, access.initiator != .debugger {
            let end = access.address &+ UInt64(access.size)
            var word = access.address & ~3
            while word < end {
                let isWhole = access.isWrite && word >= access.address && word + 4 <= end
                if meet(word, isOverwritten: isWhole, by: access.initiator) == false { return .uncorrectable }
                word += 4
            }
        }
        return memory.access(&access)
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? { memory.peek(address, size: size) }

    /// An access reaches a word. Returns false if it can't be served.
    private func meet(_ word: UInt64, isOverwritten: Bool, by initiator: Initiator) -> Bool {
        guard let index = state.planted.firstIndex(where: { $0.word == word }) else { return true }
        if isOverwritten {
            state.planted.remove(at: index)
            sink?.plantedErrorsChanged(to: state.planted.count)
            return true
        }
        let isCorrected = state.planted[index].isCorrectable
        sink?.memoryErrorMet(MemoryError(offset: word, isCorrected: isCorrected, initiator: initiator))
        return isCorrected
    }

    public func plantError(at offset: UInt64, isCorrectable: Bool) -> Bool {
        let word = offset & ~3
        guard word < UInt64(memory.pages.size) else { return false }
        if let index = state.planted.firstIndex(where: { $0.word == word }) {
            state.planted[index].isCorrectable = isCorrectable
            return true
        }
        let place = state.planted.firstIndex { $0.word > word } ?? state.planted.count
        state.planted.insert(.init(word: word, isCorrectable: isCorrectable), at: place)
        sink?.plantedErrorsChanged(to: state.planted.count)
        return true
    }

    // MARK: Snapshots

    /// The contents of the memory are not part of it.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("ecc") { (archive, _) throws(SnapshotError) in
            try archive.array(&state.planted, limit: memory.pages.size / 4, blank: .init(word: 0, isCorrectable: true)) {
                (archive, planted) throws(SnapshotError) in
                try archive.integer(&planted.word)
                try archive.flag(&planted.isCorrectable)
            }
            for (place, planted) in state.planted.enumerated() where archive.isLoading {
                let first = place == 0 ? 0 : state.planted[place - 1].word + 4
                try archive.require(
                    planted.word % 4 == 0 && planted.word >= first && planted.word < UInt64(memory.pages.size),
                    "expected an offset of a word from \(first) on, found \(planted.word)")
            }
            // Harts go the direct way or not, as the errors want it.
            if archive.isLoading { sink?.plantedErrorsChanged(to: state.planted.count) }
        }
    }
}
