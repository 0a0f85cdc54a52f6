import CClientMemory
import Glibc
import PCIExpress
import Registers

/// The processes that have a function's files open, and the memory of the one that drives it: docs/client-memory.md.
///
/// Used under the machine's lock when DMA meets an address, by the thread that serves the mount, and by ``ClientWatch``.
final class FunctionClients: ClientMemory, @unchecked Sendable {
    // Sendable: everything that changes is touched under `lock` alone. It is the innermost lock.

    /// What the addresses are that a client gives the device.
    enum Addressing: String, CaseIterable {
        /// Whichever its first address is; physical if it is both.
        case automatic, physical, virtual
    }

    /// An opening of a file by which a process may drive the function; ends with the object.
    final class Opening {
        fileprivate let process: ClientProcess
        private let clients: FunctionClients

        fileprivate init(_ process: ClientProcess, _ clients: FunctionClients) {
            self.process = process
            self.clients = clients
        }

        deinit { clients.closed(process) }
    }

    /// Memory that the function's domain was given.
    private struct Given {
        weak var piece: (any ClientPiece)?
        var process: ClientProcess
        var area: ClientArea
        /// Virtual addresses.
        var range: Range<UInt64>
        /// The first page's physical number, if it was found by that.
        var frame: UInt64?
    }

    /// A part of an area that is mapped: pieces with scattered physical addresses share it.
    private struct Window {
        weak var piece: MappedPiece?
        var area: ClientArea
        var range: Range<UInt64>
    }

    let function: Int
    /// Is raised when somebody has to look (``examine()``).
    private let event: Int32
    private let lock = Lock()
    /// Processes with the number of their openings, in the order of the first.
    private var processes: [(process: ClientProcess, openings: Int)] = []
    private var addressing = Addressing.automatic
    /// What `automatic` has turned out to be.
    private var found: Addressing?
    private var physical = PhysicalAddresses()
    private var given: [Given] = []
    private var windows: [Window] = []
    private var lastRefusal: String?
    /// The process whose memory the domain may have.
    private var served: ClientProcess?
    /// The domain may still have memory of the process before.
    private var hasChanged = false

    /// Pieces that a function has mapped at a time.
    private static let limit = 4096

    init(function: Int, event: Int32) {
        self.function = function
        self.event = event
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return body()
    }

    // MARK: Who drives the function

    /// A process opens a file by which it can drive the function.
    /// - Returns: nil if its memory can't be reached: it uses host memory alone.
    func opened(by id: UInt32) -> Opening? {
        let opening: Opening? = locked {
            if let place = processes.firstIndex(where: { $0.process.id == id && !$0.process.hasEnded && !$0.process.areas().isEmpty }) {
                processes[place].openings += 1
                return Opening(processes[place].process, self)
            }
            guard let process = ClientProcess(id: id) else { return nil }
            processes.append((process, 1))
            return Opening(process, self)
        }
        cclient_raise(event)
        return opening
    }

    /// A process accesses the function by a file that it hasn't opened itself: it drives the function if the one that opened it has ended.
    func used(by id: UInt32) {
        locked {
            guard current == nil, let process = ClientProcess(id: id) else { return }
            processes.append((process, 0))
        }
        cclient_raise(event)
    }

    private func closed(_ process: ClientProcess) {
        locked {
            guard let place = processes.firstIndex(where: { $0.process === process }) else { return }
            processes[place].openings -= 1
            if processes[place].openings == 0 { processes.remove(at: place) }
        }
        cclient_raise(event)
    }

    /// The process that drives the function: of those that have it open and live, the first.
    private var current: ClientProcess? { processes.first { !$0.process.hasEnded }?.process }

    /// Descriptors that tell of the end of a process.
    var descriptors: [Int32] { locked { processes.filter { !$0.process.hasEnded }.map(\.process.descriptor) } }

    /// There is memory that has to be looked after.
    var isLending: Bool { locked { !given.isEmpty } }

    // MARK: Memory

    func piece(at address: UInt64) -> DMAMapping? {
        locked {
            guard let process = current else { return nil }
            if process !== served {
                if served != nil {
                    hasChanged = true
                    cclient_raise(event)
                }
                forget()
            }
            served = process
            given.removeAll { $0.piece == nil }
            windows.removeAll { $0.piece == nil }
            guard given.count < Self.limit else { return refuse(address, "\(Self.limit) pieces are mapped already") }
            let areas = process.areas()
            let kind = addressing == .automatic ? found : addressing
            if kind != .virtual, let mapping = physicalPiece(process, areas, at: address) {
                found = .physical
                return mapping
            }
            if kind != .physical, let area = Self.area(areas, at: address) {
                guard let mapping = piece(of: process, area, address, from: address, area.start..<area.end, frame: nil) else { return nil }
                found = .virtual
                return mapping
            }
            return refuse(address, kind.map { "no \($0.rawValue) address" } ?? "neither a physical nor a virtual address")
        }
    }

    private func refuse(_ address: UInt64, _ reason: String) -> DMAMapping? {
        lastRefusal = "0x\(hex(address, 1)): \(reason)"
        return nil
    }

    private static func area(_ areas: [ClientArea], at address: UInt64) -> ClientArea? {
        areas.first { $0.start <= address && address < $0.end }
    }

    private func physicalPiece(_ process: ClientProcess, _ areas: [ClientArea], at address: UInt64) -> DMAMapping? {
        let page = ClientProcess.pageSize, frame = address / page
        func place() -> (ClientArea, PhysicalAddresses.Run)? {
            guard let run = physical.run(of: frame) else { return nil }
            let virtual = run.address + (frame - run.frame) * page
            // What was known may have become another page meanwhile.
            guard process.pages(at: virtual, count: 1).first?.frame == frame, let area = Self.area(areas, at: virtual) else { return nil }
            return (area, run)
        }
        var known = place()
        if known == nil {
            physical = PhysicalAddresses(of: process, areas)
            known = place()
        }
        guard let (area, run) = known else { return nil }
        let virtual = run.address + (address - run.frame * page)
        let range = max(run.address, area.start)..<min(run.address + run.pages * page, area.end)
        return piece(of: process, area, address, from: virtual, range, frame: run.frame + (range.lowerBound - run.address) / page)
    }

    /// The memory around a virtual address, within an area and a range of it, at the I/O address `address`.
    private func piece(
        of process: ClientProcess, _ area: ClientArea, _ address: UInt64, from virtual: UInt64, _ range: Range<UInt64>, frame: UInt64?
    ) -> DMAMapping? {
        guard area.isReadable else { return refuse(address, "not readable") }
        // No more than a window, so that nobody uses up all address space.
        let inWindow = (area.offset &+ (virtual - area.start)) % MappedPiece.limit
        let window = virtual - min(inWindow, virtual - area.start)..<virtual + min(MappedPiece.limit - inWindow, area.end - virtual)
        let part = range.clamped(to: window)
        let first = address &- (virtual &- part.lowerBound), count = part.upperBound - part.lowerBound
        var mapping: DMAMapping
        let piece: any ClientPiece
        if area.isShared, let mapped = mappedPiece(process, area, window) {
            piece = mapped
            mapping = DMAMapping(
                address: first, count: count, memory: mapped.memory + Int(part.lowerBound - window.lowerBound), isReadable: true,
                isWritable: area.isWritable, piece: mapped)
        } else {
            guard area.inode == 0 || isMemory(process, area) else { return refuse(address, "memory of a file") }
            let remote = RemotePiece(process, ioAddress: address, address: virtual)
            piece = remote
            mapping = DMAMapping(address: first, count: count, memory: nil, isReadable: true, isWritable: area.isWritable, piece: remote)
        }
        given.append(Given(piece: piece, process: process, area: area, range: part, frame: frame.map {
            $0 + (part.lowerBound - range.lowerBound) / ClientProcess.pageSize
        }))
        if given.count == 1 { cclient_raise(event) }
        return mapping
    }

    private func mappedPiece(_ process: ClientProcess, _ area: ClientArea, _ range: Range<UInt64>) -> MappedPiece? {
        if let window = windows.first(where: { $0.range == range && $0.area == area }), let piece = window.piece, !piece.isLost {
            return piece
        }
        guard let piece = MappedPiece(process, area, range, event: event) else { return nil }
        windows.append(Window(piece: piece, area: area, range: range))
        return piece
    }

    private func isMemory(_ process: ClientProcess, _ area: ClientArea) -> Bool {
        let file = process.file(of: area)
        guard file >= 0 else { return false }
        defer { close(file) }
        var page = 0
        return cclient_is_memory(file, &page)
    }

    private func forget() {
        (found, physical, lastRefusal) = (nil, PhysicalAddresses(), nil)
    }

    // MARK: What has changed

    /// Whether what the domain has been given is no longer the client's memory, so that it has to be dropped.
    func examine() -> Bool {
        locked {
            // Who drives it by its accesses alone leaves with its end.
            processes.removeAll { $0.openings == 0 && $0.process.hasEnded }
            let current = current
            if hasChanged || (served != nil && served !== current) {
                (served, given, hasChanged) = (current, [], false)
                forget()
                return true
            }
            given.removeAll { $0.piece == nil }
            guard !given.isEmpty, let served else { return false }
            let areas = served.areas()
            guard given.contains(where: { !isIntact($0, areas) }) else { return false }
            given = []
            physical = PhysicalAddresses()
            return true
        }
    }

    private func isIntact(_ given: Given, _ areas: [ClientArea]) -> Bool {
        if let mapped = given.piece as? MappedPiece, mapped.isLost { return false }
        guard let area = Self.area(areas, at: given.range.lowerBound), area.continues(given.area, in: given.range) else { return false }
        guard let frame = given.frame else { return true }
        let page = ClientProcess.pageSize
        return given.process.pages(at: given.range.lowerBound, count: Int((given.range.upperBound - given.range.lowerBound) / page))
            .enumerated().allSatisfy { $1.frame == frame + UInt64($0) }
    }

    // MARK: For people

    /// Who drives the function, and what of its memory the device has met.
    var summary: String {
        locked {
            var text = "process: \(current.map { "\($0.id)" } ?? "none")\n"
            text += "open files: \(processes.reduce(0) { $0 + $1.openings })\n"
            text += "addresses: \(addressing.rawValue)\(addressing == .automatic ? found.map { ", \($0.rawValue)" } ?? "" : "")\n"
            for piece in given where piece.piece != nil {
                let kind = piece.piece is MappedPiece ? "mapped" : "copied"
                let place = piece.frame.map { ", physical 0x\(hex($0 * ClientProcess.pageSize, 1))" } ?? ""
                text += "\(kind): \(piece.range.upperBound - piece.range.lowerBound) bytes at 0x\(hex(piece.range.lowerBound, 1))\(place)\n"
            }
            if let lastRefusal { text += "last refusal: \(lastRefusal)\n" }
            return text
        }
    }

    /// Says what the client's addresses are. What the domain has is to be dropped.
    func setAddressing(_ addressing: Addressing) {
        locked {
            self.addressing = addressing
            given = []
            forget()
        }
    }
}
