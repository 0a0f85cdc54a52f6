import Glibc
import OffloadDevice

/// The front-end's memory: pieces that it knows by addresses of its own, and its driver by others.
struct GuestMap {
    /// Pieces that there may be at a time.
    static let slots = 64

    struct Piece {
        var slot: Int
        /// The driver's address.
        var guestAddress: UInt64
        var count: UInt64
        /// The front-end's own.
        var userAddress: UInt64
        var pages: GuestPages
    }

    private(set) var pieces: [Piece] = []

    /// The pieces as the device is told of them.
    var memory: [FrontEndMemory] {
        pieces.map { FrontEndMemory(slot: $0.slot, address: $0.guestAddress, count: $0.count, pages: $0.pages) }
    }

    /// The memory of some piece has been cut short by its owner.
    var isCut: Bool { pieces.contains { $0.pages.isCut } }

    mutating func removeAll() { pieces.removeAll() }

    /// Adds a piece as messages describe it: four 64-bit numbers, and the file.
    mutating func add(_ reader: inout PayloadReader, _ descriptor: Int32) throws(ProtocolError) {
        let (guest, count, user, offset): (UInt64, UInt64, UInt64, UInt64) =
            (try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer())
        let slots = Set(pieces.map(\.slot))
        guard let slot = (0..<Self.slots).first(where: { !slots.contains($0) }) else {
            throw ProtocolError("memory: expected at most \(Self.slots) pieces, found another")
        }
        guard !guest.addingReportingOverflow(count).overflow, !user.addingReportingOverflow(count).overflow else {
            throw ProtocolError("memory: expected a piece that ends in the address space, found \(count) bytes at 0x\(hex(guest))")
        }
        do {
            let pages = try GuestPages(descriptor: descriptor, offset: offset, count: count)
            pieces.append(Piece(slot: slot, guestAddress: guest, count: count, userAddress: user, pages: pages))
        } catch {
            throw ProtocolError("memory at 0x\(hex(guest)): \(error)")
        }
    }

    /// Removes a piece, described in the same way.
    mutating func remove(_ reader: inout PayloadReader) throws(ProtocolError) {
        let (guest, count, user): (UInt64, UInt64, UInt64) = (try reader.integer(), try reader.integer(), try reader.integer())
        guard let place = pieces.firstIndex(where: { ($0.guestAddress, $0.count, $0.userAddress) == (guest, count, user) }) else {
            throw ProtocolError("memory: expected a piece that was added, found \(count) bytes at 0x\(hex(guest))")
        }
        pieces.remove(at: place)
    }

    /// The driver's address of what the front-end has at one of its own.
    func guestAddress(ofUser address: UInt64) throws(ProtocolError) -> UInt64 {
        guard let piece = pieces.first(where: { address &- $0.userAddress < $0.count }) else {
            throw ProtocolError("expected an address in the front-end's memory, found 0x\(hex(address))")
        }
        return piece.guestAddress &+ (address &- piece.userAddress)
    }

    /// 16 bits at a driver's address.
    func word(at address: UInt64) throws(ProtocolError) -> UInt16 {
        guard let piece = pieces.first(where: { address &- $0.guestAddress < $0.count && $0.count &- (address &- $0.guestAddress) >= 2 })
        else { throw ProtocolError("expected an address in the driver's memory, found 0x\(hex(address))") }
        return piece.pages.bytes.loadUnaligned(fromByteOffset: Int(address &- piece.guestAddress), as: UInt16.self)
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
