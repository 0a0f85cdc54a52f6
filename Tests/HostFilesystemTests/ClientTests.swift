import Glibc
import HostFilesystem
import PCIExpress
import Testing

@Suite struct ClientTests {
    @Test func linesOfProcMaps() throws {
        let line = "7f0000000000-7f0000200000 rw-s 00400000 00:0f 1234                       /dev/hugepages/some file (deleted)"
        let area = try #require(ClientArea(Substring(line)))
        #expect(area.start == 0x7f00_0000_0000 && area.end == 0x7f00_0020_0000)
        #expect(area.isReadable && area.isWritable && area.isShared)
        #expect(area.offset == 0x40_0000 && area.device == "00:0f" && area.inode == 1234)
        #expect(area.fileName == "7f0000000000-7f0000200000")
        let anonymous = try #require(ClientArea("00400000-00452000 r-xp 00000000 00:00 0 "))
        #expect(anonymous.fileName == "400000-452000" && !anonymous.isWritable && !anonymous.isShared && anonymous.inode == 0)
        for wrong in ["", "7f00-7e00 rw-s 0 0:0 1", "7f00 rw-s 0 0:0 1", "1-2 rw 0 0:0 1", "1-2 rw-s x 0:0 1", "1-2 rw-s 0 0:0"] {
            #expect(ClientArea(Substring(wrong)) == nil, "'\(wrong)'")
        }
    }

    @Test func anAreaThatGrowsOrIsSplitShowsTheSame() throws {
        let area = try #require(ClientArea("10000-20000 rw-s 00002000 00:01 5 /x"))
        let range: Range<UInt64> = 0x12000..<0x14000
        #expect(try #require(ClientArea("10000-40000 rw-s 00002000 00:01 5 /x")).continues(area, in: range))
        #expect(try #require(ClientArea("12000-14000 rw-s 00004000 00:01 5 /x")).continues(area, in: range))
        for other in ["12000-13000 rw-s 00004000 00:01 5", "10000-20000 rw-s 00003000 00:01 5", "10000-20000 rw-s 00002000 00:01 6",
            "10000-20000 rw-s 00002000 00:02 5", "10000-20000 r--s 00002000 00:01 5", "10000-20000 rw-p 00002000 00:01 5"] {
            #expect(!(try #require(ClientArea(Substring(other))).continues(area, in: range)), "'\(other)'")
        }
    }

    /// Random runs, some over each other as a page that is mapped twice: whatever is found has the frame.
    @Test func framesAreFound() throws {
        var addresses = PhysicalAddresses()
        let pages: [(frame: UInt64, address: UInt64)] = [
            (10, 0x1000), (11, 0x2000), (12, 0x3000), (20, 0x9000), (11, 0x20000), (5, 0x30000),
        ]
        for page in pages { addresses.add(page.frame, page.address) }
        addresses.sort()
        for page in pages {
            let run = try #require(addresses.run(of: page.frame))
            let address = run.address + (page.frame - run.frame) * 4096
            #expect(pages.contains { $0.frame == page.frame && $0.address == address })
        }
        for frame: UInt64 in [0, 4, 6, 9, 13, 19, 21, .max] { #expect(addresses.run(of: frame) == nil) }
    }

    @Test func noProcessIsNobodys() {
        #expect(ClientProcess(id: 0) == nil)
        #expect(ClientProcess(id: UInt32(getpid())) == nil, "the emulator's own memory is nobody's")
        #expect(ClientProcess(id: 0x7fff_fff0) == nil)
    }
}
