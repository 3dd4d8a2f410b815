import java.io.IOException;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.connect.cli.ConnectStandalone;

/**
 * Runs a standalone worker of Kafka Connect, which ends in good order when standard input does.
 *
 * <pre>Worker WORKER.properties CONNECTOR.properties</pre>
 */
public final class Worker {
    public static void main(String[] args) {
        Thread wanted = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // until nobody wants us any more
                }
            } catch (IOException e) {
                e.printStackTrace();
            }
            Exit.exit(0);
        });
        wanted.setDaemon(true);
        wanted.start();
        ConnectStandalone.main(args);
    }
}
