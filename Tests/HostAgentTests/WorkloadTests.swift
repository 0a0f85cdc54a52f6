import Glibc
import HostAgent
import Scratch
import Testing

/// Writes `text` to a temporary file for the time of `body`.
func withFile<T>(_ text: String, _ body: (String) throws -> T) throws -> T {
    let folder = try TemporaryFolder()
    return try body(folder.write(text.utf8, to: "file"))
}

/// The message of the error that reading `text` as a workload gives; nil when it gives none.
private func complaint(_ text: String) throws -> String? {
    try withFile(text) { path in
        do {
            _ = try Workload(contentsOf: path)
            return nil
        } catch {
            return "\(error)".replacing(path, with: "FILE")
        }
    }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        var text = self[...], result = ""
        while let range = text.firstRange(of: part) {
            result += text[..<range.lowerBound] + other
            text = text[range.upperBound...]
        }
        return result + text
    }
}

@Suite struct WorkloadTests {
    @Test func fioVersion2CountsItsWaits() throws {
        let text = """
            fio version 2 iolog
            /dev/sda add
            /dev/sda open
            /dev/sda write 4096 8192
            /dev/sda wait 250
            /dev/sda read 0 512
            /dev/sda sync 0 0
            /dev/sda close
            """
        let workload = try withFile(text) { try Workload(contentsOf: $0) }
        #expect(workload.requests.map(\.time) == [0, 250, 250])
        #expect(workload.requests.map(\.operation) == [.write, .read, .flush])
        #expect(workload.requests[0].position == 4096 && workload.requests[0].bytes == 8192)
        #expect(workload.end == 12288 && workload.largestRequest == 8192)
        #expect(workload.count(.read) == 1 && workload.bytes(.write) == 8192)
    }

    @Test func fioVersion3HasATimeOnEachLine() throws {
        let text = "fio version 3 iolog\n0 f add\n12 f open\n309 f read 61440 4096\r\n678 f write 491520 4096\n"
            + "700 f datasync\n901 f close\n"
        let workload = try withFile(text) { try Workload(contentsOf: $0) }
        #expect(workload.requests.map(\.time) == [309, 678, 700])
        #expect(workload.requests.map(\.operation) == [.read, .write, .flush])
    }

    @Test func columnsOfATraceMayStandInAnyOrder() throws {
        let text = "lbn,version,size,op,time\n100,1,512,2a,5633898\n0,1,1024,28,5633898.5\n7,1,4096,read,5633900\n"
        let workload = try withFile(text) { try Workload(contentsOf: $0) }
        #expect(workload.requests.map(\.time) == [0, 500_000, 2_000_000])
        #expect(workload.requests.map(\.operation) == [.write, .read, .read])
        #expect(workload.requests.map(\.position) == [51200, 0, 3584])
    }

    @Test(arguments: [
        ("", "FILE: a workload expected, an empty file found"),
        ("hello\n", "FILE:1: 'fio version 2 iolog', 'fio version 3 iolog' or CSV column names expected, 'hello' found"),
        ("fio version 2 iolog\nf read 12\n", "FILE:2: read: an offset and a length expected"),
        ("fio version 2 iolog\nf read x 512\n", "FILE:2: offset: a whole number expected, 'x' found"),
        ("fio version 3 iolog\n5 f dance 0 0\n",
         "FILE:2: an action of fio (read, write, sync, datasync, trim, wait, add, open, close) expected, 'dance' found"),
        ("fio version 2 iolog\nf read 100 512\n",
         "FILE: request 1: position and size in multiples of 512 bytes expected, 100 and 512 found"),
        ("fio version 2 iolog\nf open\n", "FILE: the workload has no request"),
        ("time,op,size\n", "FILE:1: columns time, op, size and lbn expected, 'time,op,size' found"),
        ("time,op,size,lbn\n1,28,512\n", "FILE:2: 4 columns expected, 3 found"),
        ("time,op,size,lbn\n1,zz,512,0\n", "FILE:2: op: a SCSI code (28, 2a, 35, ...) or read, write, flush expected, 'zz' found"),
        ("time,op,size,lbn\n-1,28,512,0\n", "FILE:2: time: seconds expected, '-1' found"),
        ("time,op,size,lbn\n1,28,512,99999999999999999\n",
            "FILE:2: lbn: a sector below 18014398509481984 expected, 99999999999999999 found"),
    ])
    func badFilesAreNamedWithTheirLine(text: String, message: String) throws {
        #expect(try complaint(text) == message)
    }

    @Test func aMissingFileIsAnErrorOfTheSystem() {
        #expect(throws: AgentError.self) { try Workload(contentsOf: "/nowhere/at/all") }
    }
}
