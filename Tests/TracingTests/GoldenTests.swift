import Testing
import Tracing

/// Traces as versions of the layout have stored them. A new version adds its own; what was once stored is never changed.
@Suite struct GoldenTests {
    private func golden(_ name: String, file: String = #filePath) -> String {
        file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/Golden/" + name
    }

    /// Of the events of `makeAllEvents(seed: 11, count: 60)`, whose generator is part of what is stored.
    @Test func layout2IsRead() throws {
        var reader = try TraceReader(folder: golden("layout2")), found: [TraceEvent] = []
        while let event = try reader.next() { found.append(event) }
        #expect(found == merged(makeAllEvents(seed: 11, count: 60)))
        #expect(reader.names == (try makeNames()) && reader.notes.isEmpty)
        #expect(reader.totals?.description == "60 events, hash 0xa7bc99ec9a59540b")
    }

    @Test func layout1IsRefusedByName() {
        #expect(message { _ = try TraceReader(folder: golden("layout1")) }.hasSuffix(
            "layout1/metadata: layout 2 expected, 1 found: written by another version of outrigger; babeltrace2 reads it, or record "
                + "the run again"))
    }
}
