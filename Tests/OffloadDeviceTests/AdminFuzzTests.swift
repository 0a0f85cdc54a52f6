import ComponentLoad
import Testing

/// Malformed messages on the device with its firmware; a million of them by `swift run -c release admin-fuzz`.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct AdminFuzzTests {
    @Test(arguments: [1, 2] as [UInt64]) func malformedMessagesAreAnsweredAndTheFirmwareGoesOn(seed: UInt64) throws {
        var fuzz = try AdminFuzz(firmware: FirmwareRig.read(), seed: seed)
        defer { fuzz.stop() }
        try fuzz.send(3_000)
        #expect(fuzz.sent >= 3_000 && fuzz.brokenQueues > 0 && fuzz.unanswerable > 0)
        // Every way in which a message can be wrong came about.
        let codes = fuzz.answers.keys.map { $0 & 0xffff }
        for qualifier in [1, 2, 3, 4, 5, 8] as [UInt32] { #expect(codes.contains(qualifier), "qualifier \(qualifier)") }
    }
}
