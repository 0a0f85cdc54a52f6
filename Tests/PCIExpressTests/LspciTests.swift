import Foundation
import PCIExpress
import Scratch
import Testing

/// The system's own lspci must understand every byte: once from a hexadecimal dump, once from files laid out as in sysfs.
@Suite(
    .enabled(
        if: FileManager.default.isExecutableFile(atPath: "/usr/bin/lspci") || ProcessInfo.processInfo.environment["CI"] == "true",
        "needs pciutils"))
struct LspciTests {
    /// A fixture with functions of all kinds.
    private func fixture() throws -> Fixture {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(2)
        return fixture
    }

    /// A dump as `lspci -xxxx` prints it and `lspci -F` reads it.
    private func dump(_ hierarchy: PCIHierarchy) -> String {
        var text = ""
        for function in hierarchy.present {
            text += "\(function.address.description.dropFirst(5)) \n" + hexadecimal(function) + "\n"
        }
        return text
    }

    private func hexadecimal(_ function: PCIFunction) -> String {
        let bytes = function.bytes(count: function.configurationSize)
        return stride(from: 0, to: bytes.count, by: 16).map { line in
            String(format: "%02x:", line) + bytes[line..<line + 16].map { String(format: " %02x", $0) }.joined() + "\n"
        }.joined()
    }

    /// Files as the kernel shows them, as far as lspci reads them.
    private func tree(_ hierarchy: PCIHierarchy, at root: URL) throws {
        for function in hierarchy.present {
            let folder = root.appendingPathComponent("devices/\(function.address)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            func write(_ name: String, _ text: String) throws {
                try (text + "\n").write(to: folder.appendingPathComponent(name), atomically: false, encoding: .utf8)
            }
            try Data(function.bytes(count: function.configurationSize)).write(to: folder.appendingPathComponent("config"))
            try write("vendor", String(format: "0x%04x", function.vendorID))
            try write("device", String(format: "0x%04x", function.deviceID))
            try write("subsystem_vendor", String(format: "0x%04x", function.subsystemVendorID))
            try write("subsystem_device", String(format: "0x%04x", function.subsystemID))
            try write("class", String(format: "0x%06x", function.classCode))
            try write("revision", String(format: "0x%02x", function.revision))
            try write("irq", "0")
            try write("numa_node", "-1")
            let resources = function.resources.map { String(format: "0x%016lx 0x%016lx 0x%016lx", $0.first, $0.last, $0.flags) }
            try write("resource", resources.joined(separator: "\n"))
        }
        try FileManager.default.createDirectory(at: root.appendingPathComponent("slots"), withIntermediateDirectories: true)
    }

    /// What lspci prints to standard output and error. That this machine may have no kernel modules to look up is not our concern.
    private func lspci(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/lspci")
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return String(decoding: output, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("libkmod") }.joined(separator: "\n")
    }

    private func withFolder(_ body: (URL) throws -> Void) throws {
        let folder = try TemporaryFolder()
        try body(URL(fileURLWithPath: folder.path))
    }

    /// What lspci says when something is wrong. Not among it: "[virtual]", which it says of every virtual function's BARs, and
    /// "VirtIO: <unknown>", since version 3.9 has no name for the PCI_CFG capability.
    private let complaints = [
        "lspci:", "pcilib:", "!!!", "<chain", "looped", "broken", "unreadable", "invalid", "Unknown", "downgraded", "overdriven",
        "<unassigned>", "<ignored>", "[disabled]", "access denied", "not available", "rev ff",
    ]

    @Test func aDumpReadsBackByteByByte() throws {
        let fixture = try fixture()
        try withFolder { folder in
            let file = folder.appendingPathComponent("dump")
            let dump = dump(fixture.hierarchy)
            try dump.write(to: file, atomically: false, encoding: .utf8)
            let output = try lspci(["-F", file.path, "-xxxx", "-n"])
            // The dump without its title lines is in the output, in the same order.
            func bytes(_ text: String) -> [Substring] {
                text.split(separator: "\n").filter { $0.prefix(5).contains(": ") && !$0.contains(".") }
            }
            #expect(bytes(output) == bytes(dump))
            #expect(bytes(dump).count == 16 + 6 * 256)
        }
    }

    @Test func theTreeIsUnderstoodWithoutAComplaint() throws {
        let fixture = try fixture()
        try withFolder { folder in
            try tree(fixture.hierarchy, at: folder)
            let method = ["-A", "linux-sysfs", "-O", "sysfs.path=\(folder.path)"]
            let output = try lspci(method + ["-vvv", "-nn", "-xxxx"])
            for line in output.split(separator: "\n") {
                #expect(!complaints.contains { line.contains($0) }, "\(line)")
            }
            // Other versions of lspci word some lines differently. Run with UPDATE_GOLDEN=1 to renew the file.
            guard try lspci(["--version"]).contains("3.9.0") else { return }
            let numeric = try lspci(method + ["-vvv", "-n"])
            let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden/lspci.txt")
            if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] != nil {
                try FileManager.default.createDirectory(at: golden.deletingLastPathComponent(), withIntermediateDirectories: true)
                try numeric.write(to: golden, atomically: false, encoding: .utf8)
            }
            #expect(numeric == (try String(contentsOf: golden, encoding: .utf8)))
        }
    }

    @Test func theTreeOfBusesIsDrawn() throws {
        let fixture = try fixture()
        try withFolder { folder in
            try tree(fixture.hierarchy, at: folder)
            let output = try lspci(["-A", "linux-sysfs", "-O", "sysfs.path=\(folder.path)", "-t"])
            #expect(output == """
                -[0000:00]-+-00.0
                           \\-01.0-[01]--+-00.0
                                        +-00.1
                                        +-00.5
                                        +-01.0
                                        \\-01.1

                """)
        }
    }
}
