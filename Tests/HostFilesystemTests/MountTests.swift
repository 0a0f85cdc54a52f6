import Foundation
import HostFilesystem
import Scratch
import Testing

/// What can be said of a mount point without mounting.
struct MountTests {
    @Test func pathsAreMadeAbsoluteWithoutLookingIntoTheMountPoint() throws {
        let folder = try TemporaryFolder(), base = folder.path
        try FileManager.default.createDirectory(atPath: base + "/real/place", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: base + "/link", withDestinationPath: "real")
        try FileManager.default.createSymbolicLink(atPath: base + "/direct", withDestinationPath: "real/place")
        let place = try MountedTree.absolutePath(of: base + "/real/place")
        #expect(place.hasSuffix("/real/place") && place.hasPrefix("/"))
        for other in ["/link/place", "/link/place//", "/direct", "/real/../link/place", "/real/place/."] {
            #expect(try MountedTree.absolutePath(of: base + other) == place)
        }
        // Not there yet: that is said when it is to be mounted.
        #expect(try MountedTree.absolutePath(of: base + "/link/new") == String(place.dropLast(5)) + "new")
        #expect(throws: MountError.missing(base + "/absent/place")) { try MountedTree.absolutePath(of: base + "/absent/place") }
        #expect(try MountedTree.absolutePath(of: "/") == "/")
    }

    @Test func whatCannotBeMountedOnIsNamed() {
        #expect("\(MountError.missing("/mnt/x"))" == "mount point /mnt/x: no such directory; make it with: mkdir -p /mnt/x")
        #expect(throws: MountError.missing("/nonexistent")) { try MountedTree(NodeTable(), at: "/nonexistent") }
        #expect(throws: MountError.notADirectory("/dev/null")) { try MountedTree(NodeTable(), at: "/dev/null") }
        #expect(throws: MountError.notEmpty("/etc")) { try MountedTree(NodeTable(), at: "/etc") }
        #expect(throws: MountError.busy("/proc")) { try MountedTree(NodeTable(), at: "/proc") }
    }
}
