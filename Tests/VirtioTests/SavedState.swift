import Simulation
import Testing
import Virtio

extension FunctionFixture {
    func save() throws -> [UInt8] {
        var saving = StateArchive()
        try archive(&saving)
        return saving.bytes
    }

    func load(_ bytes: [UInt8]) throws {
        var loading = StateArchive(loading: bytes)
        try archive(&loading)
        try loading.finish()
    }

    /// Replaces the state by a saved one, which must be the same.
    func reload() throws {
        let saved = try save()
        try load(saved)
        let isEqual = try save() == saved
        #expect(isEqual)
    }
}
