import Interconnect
import PCIExpress
import Registers
import Simulation
import Testing

/// A client with memory at some addresses, mapped or to be copied, that counts the questions.
private final class Client: ClientMemory, ClientPiece {
    let bytes: UnsafeMutableRawBufferPointer
    let address: UInt64
    let isMapped: Bool
    var isThere = true
    var questions = 0

    init(at address: UInt64, count: Int, isMapped: Bool) {
        bytes = .allocate(byteCount: count, alignment: 8)
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 7) }
        self.address = address
        self.isMapped = isMapped
    }

    deinit { bytes.deallocate() }

    func piece(at address: UInt64) -> DMAMapping? {
        questions += 1
        guard isThere, address >= self.address, address - self.address < UInt64(bytes.count) else { return nil }
        return DMAMapping(
            address: self.address, count: UInt64(bytes.count), memory: isMapped ? bytes.baseAddress : nil, isReadable: true,
            isWritable: true, piece: self)
    }

    func read(_ address: UInt64, into target: UnsafeMutableRawBufferPointer) -> Bool {
        guard isThere else { return false }
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[Int(address - self.address)...].prefix(target.count)))
        return true
    }

    func write(_ address: UInt64, from source: UnsafeRawBufferPointer) -> Bool {
        guard isThere else { return false }
        UnsafeMutableRawBufferPointer(rebasing: bytes[Int(address - self.address)...].prefix(source.count)).copyMemory(from: source)
        return true
    }
}

/// Keeps changes and hands them out again.
private final class Journal: ExternalChangeSink, ExternalChangeSource {
    var changes: [ExternalChange] = []
    var next = 0
    var misses = 0

    func changed(_ change: ExternalChange) { changes.append(change) }
    func nextChange() -> ExternalChange? {
        defer { next += 1 }
        return next < changes.count ? changes[next] : nil
    }
    func missed(_ change: ExternalChange, operation: UInt64, region: ExternalMemory.Region, offset: UInt64, count: Int) { misses += 1 }
}

@Suite struct ClientMemoryTests {
    private let fixture: Fixture
    private let domain: DMADomain

    init() throws {
        fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(2)
        fixture.function(1).writeConfiguration(Header.command, size: 2, 4)
        domain = fixture.function(1).domain!
    }

    private func read(_ address: UInt64, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0xee, count: count)
        return bytes.withUnsafeMutableBytes { domain.read(address, into: $0) } == .ok ? bytes : nil
    }

    private func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { domain.write(address, from: $0) } == .ok }

    @Test("memory is asked for when DMA meets it, once", arguments: [true, false])
    func foundOnDemand(isMapped: Bool) throws {
        let client = Client(at: 0x7000_0000, count: 8192, isMapped: isMapped)
        defer { withExtendedLifetime(client) {} }
        domain.client = client
        #expect(domain.pointer(to: 0x7000_0000, count: 1, writing: false) == nil)
        #expect(client.questions == 0, "a pointer asks for nothing")
        #expect(read(0x7000_0010, 4) == [112, 119, 126, 133])
        #expect(write(0x7000_1000, [1, 2, 3]))
        #expect(Array(client.bytes[4096..<4099]) == [1, 2, 3])
        #expect(client.questions == 1)
        #expect(domain.pointer(to: 0x7000_0010, count: 4, writing: true) == (isMapped ? client.bytes.baseAddress! + 16 : nil))
        #expect(read(0x7000_1ffe, 4) == nil, "the end is beyond")
        let fault = try #require(fixture.hierarchy.iommu.state.faults.last)
        #expect(fault.address == 0x7000_2000 && fault.cause == .unmapped)
        domain.dropClient()
        client.isThere = false
        #expect(read(0x7000_0010, 4) == nil)
    }

    @Test func aPeekAsksForNothing() {
        let client = Client(at: 0x7000_0000, count: 8192, isMapped: false)
        defer { withExtendedLifetime(client) {} }
        domain.client = client
        var bytes = [UInt8](repeating: 0, count: 2)
        #expect(!bytes.withUnsafeMutableBytes { domain.peek(0x7000_0001, into: $0) })
        #expect(client.questions == 0)
        #expect(read(0x7000_0001, 1) == [7])
        #expect(bytes.withUnsafeMutableBytes { domain.peek(0x7000_0001, into: $0) } && bytes == [7, 14])
    }

    @Test func theMachinesMemoryComesFirst() throws {
        let client = Client(at: 0x1000, count: 0x3000, isMapped: true)
        defer { withExtendedLifetime(client) {} }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 8)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0xaa, count: 4096)
        try domain.map(DMAMapping(address: 0x2000, count: 4096, memory: memory))
        domain.client = client
        // Across the client's memory, the machine's, and the client's again.
        let bytes = try #require(read(0x1ff0, 0x1020))
        #expect(Array(bytes[..<16]) == Array(client.bytes[0xff0..<0x1000]))
        #expect(bytes[16..<0x1010].allSatisfy { $0 == 0xaa })
        #expect(Array(bytes[0x1010...]) == Array(client.bytes[0x2000..<0x2010]))
        #expect(domain.state.mappings.map(\.address) == [0x1000, 0x2000, 0x3000])
    }

    @Test func memoryThatIsLostUnderATransferIsAFault() {
        let client = Client(at: 0x1000, count: 0x1000, isMapped: false)
        defer { withExtendedLifetime(client) {} }
        domain.client = client
        #expect(read(0x1000, 1) == [0])
        client.isThere = false
        #expect(read(0x1000, 1) == nil)
        #expect(!write(0x1000, [1]))
        #expect(fixture.hierarchy.iommu.state.faultCount == 2)
    }

    @Test("a replay knows what a recording read, without the client", arguments: [true, false])
    func replayed(isMapped: Bool) throws {
        let client = Client(at: 0x7000_0000, count: 8192, isMapped: isMapped)
        defer { withExtendedLifetime(client) {} }
        domain.client = client
        let journal = Journal()
        let recording = ExternalMemory(recordingTo: journal)
        fixture.hierarchy.iommu.externalMemory = recording
        func use(isReplay: Bool) -> [[UInt8]?] {
            var found = [read(0x7000_0100, 64), read(0x7000_0100, 64), read(0x1000, 1)]
            #expect(write(0x7000_0800, [9, 8, 7]))
            found.append(read(0x7000_07ff, 5))
            if !isReplay { client.bytes[0x110] = 0xff }
            found.append(read(0x7000_0100, 64))
            domain.dropClient()
            found.append(read(0x7000_0100, 64))
            if !isReplay { client.isThere = false }
            found.append(isMapped ? nil : read(0x7000_0100, 8))
            return found
        }
        let recorded = use(isReplay: false)
        #expect(recorded[0] != nil && recorded[2] == nil && recorded[4] == recorded[5] && recorded[0] != recorded[4])
        domain.dropClient()
        domain.client = nil
        fixture.hierarchy.iommu.externalMemory = ExternalMemory(replaying: journal)
        #expect(use(isReplay: true) == recorded)
        #expect(journal.misses == 0 && journal.next == journal.changes.count + 1)
    }

    @Test("a replay's snapshot has the client's memory as it is known", arguments: [true, false])
    func snapshotOfAReplay(isMapped: Bool) throws {
        let client = Client(at: 0x7000_0000, count: 8192, isMapped: isMapped)
        defer { withExtendedLifetime(client) {} }
        domain.client = client
        let journal = Journal()
        fixture.hierarchy.iommu.externalMemory = ExternalMemory(recordingTo: journal)
        let expected = [read(0x7000_0ff0, 32), read(0x7000_0ff0, 32)]
        domain.dropClient()
        domain.client = nil
        fixture.hierarchy.iommu.externalMemory = ExternalMemory(replaying: journal)
        #expect(read(0x7000_0ff0, 32) == expected[0])
        let saved = try fixture.save()
        domain.dropClient()
        try fixture.load(saved)
        #expect(try fixture.save() == saved)
        #expect(read(0x7000_0ff0, 32) == expected[1])
        #expect(journal.misses == 0)
        // A machine that is no replay takes the snapshot, without the client.
        fixture.hierarchy.iommu.externalMemory = nil
        try fixture.load(saved)
        #expect(read(0x7000_0ff0, 32) == nil)
    }

    /// Many pieces, in an order that makes the cache's places collide: each address always finds its own bytes.
    @Test("every page finds its own memory", arguments: 1...5 as ClosedRange<UInt64>)
    func cache(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let page = 4096, count = 600
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * page, alignment: 8)
        defer { memory.deallocate() }
        let addresses = (0..<count).map { UInt64($0) << 21 | UInt64.random(in: 0..<512, using: &random) << 12 }
        for (index, address) in addresses.enumerated() {
            memory.storeBytes(of: UInt64(index), toByteOffset: index * page, as: UInt64.self)
            try domain.map(DMAMapping(address: address, count: UInt64(page), memory: memory + index * page))
        }
        for _ in 0..<20_000 {
            let index = Int.random(in: 0..<count, using: &random)
            let found = domain.pointer(to: addresses[index], count: 8, writing: Bool.random(using: &random))
            #expect(found?.load(as: UInt64.self) == UInt64(index), "seed \(seed)")
        }
        domain.unmap(0, count: .max)
        #expect(addresses.allSatisfy { domain.pointer(to: $0, count: 1, writing: false) == nil })
    }
}
