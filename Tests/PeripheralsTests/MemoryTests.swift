import Glibc
import Interconnect
import Peripherals
import Registers
import Scratch
import Simulation
import Testing

private final class Errors: MemoryErrorSink {
    var met: [MemoryError] = []
    var planted = 0
    func memoryErrorMet(_ error: MemoryError) { met.append(error) }
    func plantedErrorsChanged(to count: Int) { planted = count }
}

@Suite struct MemoryTests {
    private func access(_ target: any BusTarget, _ access: BusAccess) -> (BusStatus, UInt64) {
        var access = access
        return (target.access(&access), access.value)
    }

    @Test func memoryIsLittleEndianAndBounded() throws {
        let memory = PlainMemory(try MemoryPages(name: "test", size: 8192), isReadOnly: false)
        #expect(access(memory, .init(write: 0x1122_3344_5566_7788, to: 16, size: 8, initiator: .hart(0))).0 == .ok)
        #expect(access(memory, .init(read: 17, size: 2, initiator: .hart(0))) == (.ok, 0x6677))
        #expect(memory.peek(20, size: 4) == 0x1122_3344)
        for address in [8185, 8192, UInt64.max - 3] {
            #expect(access(memory, .init(read: address, size: 8, initiator: .hart(0))).0 == .unmapped)
            #expect(memory.peek(address, size: 8) == nil)
        }
    }

    @Test func readOnlyMemoryIsLoadedButNotWritten() throws {
        let memory = PlainMemory(try MemoryPages(name: "test", size: 4096), isReadOnly: true)
        let data: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        data.withUnsafeBytes { memory.load($0, at: 4092) }
        #expect(access(memory, .init(write: 0, to: 4092, size: 4, initiator: .hart(0))).0 == .readOnly)
        #expect(memory.peek(4092, size: 4) == 0x0403_0201)
    }

    @Test func pagesCanBeMappedByOthersAndFilesKeepTheirContents() throws {
        let pages = try MemoryPages(name: "test", size: 5000)
        #expect(pages.size == 8192)
        // Another mapping of the same pages.
        let other = mmap(nil, pages.size, PROT_READ | PROT_WRITE, MAP_SHARED, pages.fileDescriptor, 0)!
        other.storeBytes(of: 0x55, toByteOffset: 77, as: UInt8.self)
        #expect(pages.bytes[77] == 0x55)
        munmap(other, pages.size)

        let folder = try TemporaryFolder(), name = try folder.write([], to: "memory")
        for (size, value) in [(4096, 99), (8192, 100)] as [(Int, UInt8)] {
            let file = try MemoryPages(path: name, size: size)
            withExtendedLifetime(file) {
                #expect(file.bytes[9] == (value == 99 ? 0 : value - 1))
                file.bytes[9] = value
            }
        }
        #expect(throws: MemoryPagesError.self) { try MemoryPages(path: "/nonexistent/file", size: 4096) }
    }

    @Test func plantedErrorsAreMetCorrectedAndRemoved() throws {
        let memory = ECCMemory(try MemoryPages(name: "test", size: 4096))
        let errors = Errors()
        memory.sink = errors
        #expect(access(memory, .init(write: 0xabcd, to: 0x100, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(memory.plantError(at: 0x102, isCorrectable: true))
        #expect(errors.planted == 1)
        #expect(access(memory, .init(read: 0x101, size: 1, initiator: .hart(1))) == (.ok, 0xab))
        #expect(errors.met == [MemoryError(offset: 0x100, isCorrected: true, initiator: .hart(1))])
        // Its neighbours are sound.
        #expect(access(memory, .init(read: 0xfc, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(access(memory, .init(read: 0x104, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(errors.met.count == 1)

        #expect(memory.plantError(at: 0x100, isCorrectable: false))
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .hart(0))).0 == .uncorrectable)
        #expect(access(memory, .init(write: 1, to: 0x100, size: 2, initiator: .hart(0))).0 == .uncorrectable)
        #expect(memory.peek(0x100, size: 4) == 0xabcd)
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .debugger)) == (.ok, 0xabcd))
        #expect(access(memory, .init(write: 7, to: 0x100, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(errors.planted == 0 && errors.met.count == 3)
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .hart(0))) == (.ok, 7))
        #expect(!memory.plantError(at: 4096, isCorrectable: true))
    }
}
