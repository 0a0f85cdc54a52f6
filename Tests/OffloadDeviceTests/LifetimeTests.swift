import OffloadDevice
import Scratch
import Testing

/// A device takes some hundred descriptors and mappings; who makes one after the other must not collect them.
@Suite struct LifetimeTests {
    private struct Part {
        let name: String
        weak var object: AnyObject?
    }

    /// The models and memories of a device that has worked, and has been recorded and traced meanwhile.
    private func parts() throws -> [Part] {
        let folder = try TemporaryFolder(), machine = try Machine(.small, pace: .lockstep)
        machine.startDigest()
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(try TestProgram.restless().elf)
        var driver = BlockDriver(machine, function: 1, offset: 0)
        #expect(driver.request(type: 1, sector: 0, count: 512) == 0)
        #expect(machine.stopRecording() == nil)
        try machine.restore(machine.capture())
        let replayer = try Replayer(Recording(folder: folder.path))
        try replayer.run(to: replayer.recording.end)
        return machine.inspect { parts(of: $0, "machine") } + parts(of: replayer.device, "replay")
    }

    private func parts(of device: Device, _ owner: String) -> [Part] {
        let models = Mirror(reflecting: device).children.filter { type(of: $0.value) is AnyClass }
        return models.map { Part(name: "\(owner).\($0.label ?? "")", object: $0.value as AnyObject) }
    }

    @Test func aDeviceGoesAsAWhole() throws {
        let parts = try parts()
        #expect(parts.count > 40)
        #expect(parts.filter { $0.object != nil }.map(\.name) == [])
    }
}
