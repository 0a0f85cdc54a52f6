import Glibc
import Interconnect
import Registers

/// Finds the memory of the process that drives a function, by the addresses that this process gives the device.
///
/// A domain asks when DMA meets an address that nothing is mapped at, and keeps what it was told until the client lets go of it
/// (``DMADomain/dropClient()``).
public protocol ClientMemory: AnyObject {
    /// The memory at `address` and as much around it as is of one piece; nil if the client has none there.
    func piece(at address: UInt64) -> DMAMapping?
}

/// Keeps a piece of a client's memory mapped for as long as it lives, or reaches what can't be mapped.
public protocol ClientPiece: AnyObject {
    /// Moves bytes at an I/O address, where the mapping has no memory in this process.
    /// - Returns: false if they are no longer there.
    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool
    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> Bool
}

/// A client's memory as the device knows it: zeroes at first. Untouched parts of it take no memory.
final class ClientImage {
    let bytes: UnsafeMutableRawBufferPointer
    /// A bit for each block that may hold something else than zeroes.
    private var touched: [UInt64]
    static let block = 4096

    /// - Returns: nil if there is no address space left.
    init?(count: Int) {
        let memory = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { return nil }
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: count)
        touched = Array(repeating: 0, count: (count / Self.block + 64) / 64)
    }

    deinit { munmap(bytes.baseAddress!, bytes.count) }

    /// `count` bytes, at least one, that the device is about to know.
    func known(_ offset: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
        for block in offset / Self.block...(offset + count - 1) / Self.block { touched[block / 64] |= 1 << UInt64(block % 64) }
        return UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    /// The blocks that were touched, in order.
    var blocks: [Int] {
        touched.indices.flatMap { word in (0..<64).filter { touched[word] >> UInt64($0) & 1 == 1 }.map { word * 64 + $0 } }
    }
}

/// What ``ClientMemory`` has answered, as a recording has it. Little endian: address, count, then bits: readable, writable, remote.
private enum ClientAnswer {
    static func bytes(of mapping: DMAMapping) -> [UInt8] {
        func bytes(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) } }
        let flags: UInt8 = (mapping.isReadable ? 1 : 0) | (mapping.isWritable ? 2 : 0) | (mapping.isRemote ? 4 : 0)
        return bytes(mapping.address) + bytes(mapping.count) + [flags]
    }

    /// The mapping as a replay has it, with an image in the place of the memory; nil if that is no answer.
    static func mapping(from bytes: [UInt8]) -> DMAMapping? {
        guard bytes.count == 17 else { return nil }
        func integer(_ start: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) } }
        return DMAMapping(
            imageAt: integer(0), count: integer(8), isReadable: bytes[16] & 1 != 0, isWritable: bytes[16] & 2 != 0,
            isRemote: bytes[16] & 4 != 0)
    }
}

extension DMAMapping {
    /// A client's memory as a replay has it: an image alone. Nil if that is no range, or there is no address space left.
    init?(imageAt address: UInt64, count: UInt64, isReadable: Bool, isWritable: Bool, isRemote: Bool) {
        guard count > 0, count <= 1 << 40, address <= UInt64.max - (count - 1), let image = ClientImage(count: Int(count)) else {
            return nil
        }
        self.init(
            address: address, count: count, memory: isRemote ? nil : image.bytes.baseAddress, isReadable: isReadable,
            isWritable: isWritable, origin: .client)
        self.image = image
    }
}

extension DMADomain {
    /// Asks the client for memory at an address where nothing is mapped, and maps it.
    /// - Returns: false if there is none.
    func adopt(_ address: UInt64) -> Bool {
        guard !state.isLent else { return false }
        guard let external = iommu.externalMemory else {
            guard let client, let found = client.piece(at: address) else { return false }
            return insert(found, around: address)
        }
        // What the client has there is an input, too.
        var found: DMAMapping?
        var answer: [UInt8]?
        if !external.isReplaying {
            found = client?.piece(at: address)
            if let count = found?.count, let image = ClientImage(count: Int(count)) {
                found?.image = image
                answer = found.map(ClientAnswer.bytes)
            }
        }
        answer = external.answer(answer, .clientTable(function: function), offset: address)
        if external.isReplaying { found = answer.flatMap(ClientAnswer.mapping) }
        guard answer != nil, let found else { return false }
        return insert(found, around: address)
    }

    /// Maps what of a piece lies between the mappings to both sides of `address`.
    private func insert(_ piece: DMAMapping, around address: UInt64) -> Bool {
        guard piece.count > 0, piece.address <= UInt64.max - (piece.count - 1), piece.address <= address, address <= piece.last else {
            return false
        }
        let gap = gap(around: address)
        let part = piece.part(from: max(piece.address, gap.lowerBound), to: min(piece.last, gap.upperBound))
        do throws(DMAMappingError) {
            try insert(part)
        } catch {
            return false
        }
        return true
    }

    /// Forgets all memory of the client: it has left, or let go of its memory.
    public func dropClient() {
        if state.mappings.contains(where: { $0.origin == .client }) { unmapAll(.client) }
    }

    /// Reads a piece of one mapping.
    /// - Returns: false if the client has lost it.
    func read(
        _ mapping: DMAMapping, _ start: UInt64, into target: UnsafeMutableRawPointer, _ count: Int
    ) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer(start: target, count: count)
        if mapping.origin == .client, let external = iommu.externalMemory, let image = mapping.image {
            let known = image.known(mapping.imageStart + Int(start), count)
            let region = ExternalMemory.Region.client(function: function)
            external.begin()
            if !external.isReplaying {
                let isThere = fetch(mapping, start, into: bytes)
                guard !mapping.isRemote || external.outcome(isThere ? nil : EFAULT, region) == nil else { return false }
                external.update(known, from: UnsafeRawBufferPointer(bytes), region, offset: mapping.address &+ start)
            } else {
                guard !mapping.isRemote || external.outcome(nil, region) == nil else { return false }
                external.update(known, from: nil, region, offset: mapping.address &+ start)
                target.copyMemory(from: known.baseAddress!, byteCount: count)
            }
            return true
        }
        if let external = iommu.externalMemory, let memory = mapping.memory, external.read(memory + Int(start), into: bytes) { return true }
        return fetch(mapping, start, into: bytes)
    }

    private func fetch(_ mapping: DMAMapping, _ start: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let memory = mapping.memory else { return mapping.client?.read(mapping.address &+ start, into: bytes) ?? false }
        copyShared(from: memory + Int(start), to: bytes.baseAddress!, count: bytes.count)
        return true
    }

    /// Writes a piece of one mapping.
    /// - Returns: false if the client has lost it.
    func write(_ source: UnsafeRawPointer, to mapping: DMAMapping, _ start: UInt64, _ count: Int) -> Bool {
        let bytes = UnsafeRawBufferPointer(start: source, count: count)
        if let external = iommu.externalMemory {
            if mapping.origin == .client, let image = mapping.image {
                image.known(mapping.imageStart + Int(start), count).copyMemory(from: bytes)
                guard mapping.isRemote else {
                    if !external.isReplaying { copyShared(from: source, to: mapping.memory! + Int(start), count: count) }
                    return true
                }
                external.begin()
                let isThere = external.isReplaying || mapping.client?.write(mapping.address &+ start, from: bytes) ?? false
                return external.outcome(isThere ? nil : EFAULT, .client(function: function)) == nil
            } else if let memory = mapping.memory {
                external.willWrite(bytes, to: memory + Int(start))
            }
        }
        guard let memory = mapping.memory else { return mapping.client?.write(mapping.address &+ start, from: bytes) ?? false }
        copyShared(from: source, to: memory + Int(start), count: count)
        return true
    }
}
