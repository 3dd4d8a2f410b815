import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import io.debezium.engine.format.SerializationFormat;
import java.io.FileReader;
import java.io.InputStream;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Runs Debezium's engine in this process and forgets what it delivers. It counts the events of one topic, says so on
 * standard output at the first of them and when as many have come as are wanted, and ends in good order when its
 * standard input does.
 *
 * <pre>Embedded PROPERTIES structs|json TOPIC ROWS</pre>
 */
public final class Embedded {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        try (FileReader in = new FileReader(args[0])) {
            properties.load(in);
        }
        long rows = Long.parseLong(args[3]);
        if (args[1].equals("json")) {
            // Without the schema, which is several times as long as the row.
            properties.setProperty("converter.schemas.enable", "false");
            run(Json.class, properties, args[2], rows);
        } else {
            run(Connect.class, properties, args[2], rows);
        }
    }

    private static <T, F extends SerializationFormat<T>> void run(Class<F> format, Properties properties, String topic, long rows)
            throws Exception {
        DebeziumEngine<ChangeEvent<T, T>> engine = DebeziumEngine.create(format).using(properties)
                .notifying(new Counter<T>(topic, rows))
                .using((success, message, error) -> {
                    if (!success) {
                        System.err.println(message);
                        if (error != null) {
                            error.printStackTrace();
                        }
                        Runtime.getRuntime().halt(1);
                    }
                }).build();
        ExecutorService executor = Executors.newSingleThreadExecutor();
        executor.execute(engine);
        InputStream in = System.in;
        while (in.read() >= 0) {
            // until nobody wants us any more
        }
        engine.close(); // commits the offsets
        executor.shutdown();
        System.exit(0);
    }

    private static final class Counter<T> implements DebeziumEngine.ChangeConsumer<ChangeEvent<T, T>> {
        private final String topic;
        private final long wanted;
        private long seen;

        Counter(String topic, long wanted) {
            this.topic = topic;
            this.wanted = wanted;
        }

        @Override
        public void handleBatch(List<ChangeEvent<T, T>> events, DebeziumEngine.RecordCommitter<ChangeEvent<T, T>> committer)
                throws InterruptedException {
            long before = seen;
            for (ChangeEvent<T, T> event : events) {
                if (topic.equals(event.destination()) && event.value() != null) {
                    seen++;
                }
                committer.markProcessed(event);
            }
            committer.markBatchFinished();
            if (before == 0 && seen > 0) {
                say("first", seen);
            }
            if (before < wanted && seen >= wanted) {
                say("done", seen);
            }
        }

        private static void say(String what, long rows) {
            System.out.println(what + " " + rows);
            System.out.flush();
        }
    }
}
